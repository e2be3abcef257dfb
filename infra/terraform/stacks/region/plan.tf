# What all stacks are given alike, from environments/<environment>/plan.tfvars. Checked in modules/plan.

variable "environment" {
  type        = string
  description = "production or drill."
}

variable "account_id" {
  type        = string
  description = "Account of this environment; the provider refuses to work in any other one."
}

variable "domain" {
  type        = string
  description = "Public domain of this environment."
}

variable "regions" {
  description = "The three regions by role, see modules/plan."
  type = map(object({
    name         = string
    azs          = list(string)
    vpc_cidr     = string
    pod_cidr     = string
    service_cidr = string
  }))
}

module "plan" {
  source      = "../../modules/plan"
  environment = var.environment
  account_id  = var.account_id
  domain      = var.domain
  regions     = var.regions
}
