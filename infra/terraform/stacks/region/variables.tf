variable "role" {
  type        = string
  description = "Which of the plan's regions this is: primary, secondary or witness."

  validation {
    condition     = contains(["primary", "secondary", "witness"], var.role)
    error_message = "role is primary, secondary or witness."
  }
}

variable "kubernetes_version" {
  type        = string
  description = "See modules/cluster."
}

variable "addon_versions" {
  type        = map(string)
  description = "See modules/cluster."
  default     = {}
}

variable "node_groups" {
  description = "Nodes by purpose, sizes of one zone; the witness has only those for system and postgres."
  type = map(object({
    instance_types = list(string)
    min            = number
    max            = number
    dedicated      = bool
  }))

  validation {
    condition     = alltrue([for purpose in ["system", "services", "postgres", "kafka"] : contains(keys(var.node_groups), purpose)])
    error_message = "There are nodes for system, services, postgres and kafka."
  }
}

variable "idle" {
  type        = bool
  description = "Nothing runs and nothing goes out: the drill environment between two drills."
  default     = false

  validation {
    condition     = !(var.idle && var.environment == "production")
    error_message = "Production is never idle."
  }
}

variable "nat" {
  type        = string
  description = "See modules/network."

  validation {
    condition     = var.environment != "production" || var.nat == "zone"
    error_message = "In production each zone has its own way out."
  }
}

variable "api_client_cidrs" {
  type        = set(string)
  description = "See modules/cluster."
}

variable "admin_role_arn" {
  type        = string
  description = "See modules/cluster."
}

variable "deployer_role_arn" {
  type        = string
  description = "See modules/cluster."
}

variable "recovery_window_days" {
  type        = number
  description = "See modules/postgres."

  validation {
    condition     = var.environment != "production" || var.recovery_window_days >= 30
    error_message = "Production can go back to any second of 30 days."
  }
}

variable "postgres_instances" {
  type        = number
  description = "Postgres instances of a serving region; the witness has one."

  validation {
    condition     = var.postgres_instances >= 3
    error_message = "A serving region has at least three instances, as the chart asks wherever it is not local."
  }
}

variable "postgres_volume" {
  description = "See modules/postgres."
  type = object({
    size_gib   = number
    iops       = number
    throughput = number
  })
}

variable "kafka" {
  description = "See modules/kafka."
  type = object({
    brokers    = number
    volume_gib = number
  })
}

variable "relayer_lanes" {
  type        = number
  description = "As in the global stack."
}

variable "requests_per_ip" {
  type        = number
  description = "See modules/edge."
}

variable "log_retention_days" {
  type        = number
  description = "How long logs are kept."
}

variable "alarm_emails" {
  type        = set(string)
  description = "See modules/observability."
}

variable "mirrored_images" {
  type        = set(string)
  description = "Operators' images that this region keeps copies of."
}
