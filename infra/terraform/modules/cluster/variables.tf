variable "prefix" {
  type        = string
  description = "settlement-<environment>."
}

variable "account_id" {
  type        = string
  description = "Account of the cluster."
}

variable "region" {
  description = "The region, from the plan."
  type = object({
    name         = string
    role         = string
    azs          = list(string)
    service_cidr = string
  })
}

variable "kubernetes_version" {
  type        = string
  description = "Minor version of Kubernetes; the chart asks for 1.34 or later."

  validation {
    condition     = can(regex("^1\\.[0-9]+$", var.kubernetes_version)) && try(tonumber(split(".", var.kubernetes_version)[1]), 0) >= 34
    error_message = "kubernetes_version is a minor version of 1.34 or later, such as 1.34."
  }
}

variable "addon_versions" {
  type        = map(string)
  description = "Version of each add-on; empty means the default of the cluster's version."
  default     = {}
}

variable "node_subnets" {
  type        = map(string)
  description = "Subnet of nodes by zone."

  validation {
    condition     = length(var.node_subnets) == 3
    error_message = "Nodes stand in three zones."
  }
}

variable "pod_subnets" {
  type        = map(string)
  description = "Subnet of pods by zone."
}

variable "node_groups" {
  description = "Nodes by purpose; sizes are of one zone."
  type = map(object({
    instance_types = list(string)
    min            = number
    max            = number
    dedicated      = bool
  }))

  validation {
    condition     = contains(keys(var.node_groups), "postgres") && contains(keys(var.node_groups), "system")
    error_message = "Each region has nodes for postgres and for the system's own pods."
  }

  validation {
    condition     = alltrue([for group in var.node_groups : group.min >= 1 && group.max >= group.min])
    error_message = "A zone has at least one node of each purpose, and max is not below min. Use idle to switch nodes off."
  }
}

variable "idle" {
  type        = bool
  description = "No nodes: the drill environment between two drills. The data stays on its volumes."
}

variable "api_client_cidrs" {
  type        = set(string)
  description = "Private networks whose machines may call the Kubernetes API."

  validation {
    condition     = alltrue([for cidr in var.api_client_cidrs : can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)", cidr)) && try(tonumber(split("/", cidr)[1]), 0) >= 16])
    error_message = "The Kubernetes API is called from private networks of /16 or smaller only."
  }
}

variable "admin_role_arn" {
  type        = string
  description = "Role of those who administer the cluster."
}

variable "deployer_role_arn" {
  type        = string
  description = "Role of the pipeline that installs the chart."

  validation {
    condition     = var.deployer_role_arn != var.admin_role_arn
    error_message = "The pipeline is not an administrator."
  }
}

variable "keys" {
  description = "Customer keys of this region."
  type = object({
    cluster = string
    volumes = string
    logs    = string
  })
}

variable "log_retention_days" {
  type        = number
  description = "How long the control plane's logs are kept."
}

variable "identities" {
  description = "What pods may do: a role for one service account."
  type = map(object({
    namespace       = string
    service_account = string
    statements = list(object({
      Sid       = string
      Effect    = optional(string, "Allow")
      Action    = list(string)
      Resource  = list(string)
      Condition = optional(map(map(string)))
    }))
  }))
}

locals {
  name = "${var.prefix}-${var.region.name}"
  groups = merge([for purpose, group in var.node_groups : {
    for zone in var.region.azs : "${purpose}-${zone}" => merge(group, { purpose = purpose, zone = zone })
  }]...)
}
