# The plan of the regions: a pure module (no provider), so that each stack checks the same thing before anything else and nobody
# needs another region's state to know its neighbours. Everything that one region has to know of another is a value in here.

variable "environment" {
  type        = string
  description = "Name of the environment; part of every name."

  validation {
    condition     = contains(["production", "drill"], var.environment)
    error_message = "environment is production or drill."
  }
}

variable "account_id" {
  type        = string
  description = "The account that holds all regions of this environment (12 digits)."

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id has 12 digits."
  }
}

variable "domain" {
  type        = string
  description = "Public domain of the environment; the API answers at api.<domain>."

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain is a lower-case DNS name without a trailing dot."
  }
}

variable "regions" {
  description = "The three regions by role. A region's addresses: nodes and load balancers (vpc), pods (a second range of the VPC), Services (inside the cluster)."
  type = map(object({
    name         = string
    azs          = list(string)
    vpc_cidr     = string
    pod_cidr     = string
    service_cidr = string
  }))

  validation {
    condition     = join(",", sort(keys(var.regions))) == "primary,secondary,witness"
    error_message = "regions are exactly primary, secondary and witness: a commit needs one of two others, and a majority decides a failover."
  }

  validation {
    condition     = length(distinct([for r in var.regions : r.name])) == length(var.regions)
    error_message = "Each role is in a region of its own: two roles in one region are one failure domain."
  }

  validation {
    condition     = alltrue([for r in var.regions : length(distinct(r.azs)) == 3 && alltrue([for az in r.azs : startswith(az, r.name)])])
    error_message = "Each region names three different availability zones of its own."
  }

  validation {
    condition = alltrue([for r in var.regions : alltrue([for cidr, size in { (r.vpc_cidr) = 16, (r.pod_cidr) = 16, (r.service_cidr) = 20 } :
    can(cidrhost(cidr, 0)) && try(tonumber(split("/", cidr)[1]), 99) == size && try(cidrhost(cidr, 0), "") == split("/", cidr)[0]])])
    error_message = "vpc_cidr and pod_cidr are /16 networks, service_cidr is a /20 network, each written with its first address."
  }

  validation {
    condition = alltrue([for r in var.regions : alltrue([for cidr in [r.vpc_cidr, r.pod_cidr, r.service_cidr] :
    can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.|100\\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\\.)", cidr))])])
    error_message = "All ranges are private (RFC 1918) or shared (RFC 6598) addresses."
  }

  # Two networks overlap exactly if they are the same network when both are cut to the shorter of the two prefixes.
  validation {
    condition = alltrue(flatten([
      for i, a in flatten([for r in var.regions : [r.vpc_cidr, r.pod_cidr, r.service_cidr]]) : [
        for j, b in flatten([for r in var.regions : [r.vpc_cidr, r.pod_cidr, r.service_cidr]]) :
        i >= j || try(
          cidrhost(format("%s/%d", split("/", a)[0], min(split("/", a)[1], split("/", b)[1])), 0) !=
          cidrhost(format("%s/%d", split("/", b)[0], min(split("/", a)[1], split("/", b)[1])), 0),
        false)
      ]
    ]))
    error_message = "The ranges of all regions (nodes, pods, Services) do not overlap: replication is routed between them."
  }
}

locals {
  name    = "settlement-${var.environment}"
  serving = ["primary", "secondary"]
}

output "name" {
  description = "Prefix of every name: settlement-<environment>."
  value       = local.name
}

output "regions" {
  description = "The regions by role, each with what others may derive from its name."
  value = { for role, r in var.regions : role => merge(r, {
    role            = role
    serving         = contains(local.serving, role)
    internal_domain = "${r.name}.${local.name}.internal"
    postgres_host   = "postgres.${r.name}.${local.name}.internal"
    edge_host       = "${r.name}.edge.${var.domain}"
    buckets = contains(local.serving, role) ? {
      backups = "${local.name}-backups-${r.name}-${var.account_id}"
      audit   = "${local.name}-audit-${r.name}-${var.account_id}"
    } : {}
  }) }
}

output "api_host" {
  description = "Where clients find the API, whichever region serves it."
  value       = "api.${var.domain}"
}

output "parameters" {
  description = "Path of the parameters that the global stack leaves in each region for that region's own stack."
  value       = "/settlement/${var.environment}"
}
