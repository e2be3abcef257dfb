# What belongs to several regions by nature: keys with replicas, pairs of buckets, names, secrets. One provider for each region.
# Nothing in here is needed to fail over, and a region's own stack can be applied while this one cannot.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }


  backend "s3" {}
}

provider "aws" {
  alias               = "primary"
  region              = var.regions["primary"].name
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      application = "settlement"
      environment = var.environment
      stack       = "global"
      managed-by  = "terraform"
    }
  }
}

provider "aws" {
  alias               = "secondary"
  region              = var.regions["secondary"].name
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      application = "settlement"
      environment = var.environment
      stack       = "global"
      managed-by  = "terraform"
    }
  }
}

provider "aws" {
  alias               = "witness"
  region              = var.regions["witness"].name
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      application = "settlement"
      environment = var.environment
      stack       = "global"
      managed-by  = "terraform"
    }
  }
}

variable "relayer_lanes" {
  type        = number
  description = "Signing keys of the relayer, one a lane; relayer.lanes of the chart."

  validation {
    condition     = var.relayer_lanes >= 1 && var.relayer_lanes <= 32
    error_message = "The relayer has 1 to 32 lanes."
  }
}

variable "audit_lock" {
  description = "How long audit exports cannot be changed. Records of sanctions are kept for 10 years (31 CFR 501.601)."
  type        = object({ mode = string, days = number })
}

variable "backup_lock" {
  description = "How long base backups and WAL cannot be removed, whoever asks: at least the recovery window."
  type        = object({ mode = string, days = number })

  validation {
    condition     = var.backup_lock.days >= 7
    error_message = "Backups are locked for at least 7 days, the shortest recovery window."
  }
}

variable "routing_controls" {
  type        = bool
  description = "Hand switches beside health, see modules/traffic. Their cluster costs about as much as all else in a drill."
}

variable "monthly_budget_usd" {
  type        = number
  description = "Above this the budget's readers are told: at 80 % spent and at 100 % forecast."

  validation {
    condition     = var.monthly_budget_usd > 0
    error_message = "A budget is more than nothing."
  }
}

variable "budget_emails" {
  type        = list(string)
  description = "Who reads the budget."

  validation {
    condition     = length(var.budget_emails) > 0
    error_message = "Somebody reads the budget."
  }
}

locals {
  regions  = module.plan.regions
  prefix   = module.plan.name
  services = ["gateway", "relayer", "paymaster", "batch-settlement", "compliance-screening"]
  secrets = concat(
    local.services,
    [for service in local.services : "${service}/database"],
    # The same in each region: any region's Postgres may follow any other's.
    ["postgres/certificates", "postgres/feed-reader", "postgres/superuser"],
  )
}

module "kms" {
  source     = "../../modules/kms"
  prefix     = local.prefix
  account_id = var.account_id
  regions    = { for role, region in local.regions : role => region.name }
  signing    = merge({ for i in range(var.relayer_lanes) : "relayer-${i}" => "relayer" }, { paymaster = "paymaster" })
  providers  = { aws.primary = aws.primary, aws.secondary = aws.secondary, aws.witness = aws.witness }
}

module "backups" {
  source          = "../../modules/storage"
  purpose         = "backups"
  prefix          = local.prefix
  object_lock     = var.backup_lock
  noncurrent_days = var.backup_lock.days + 7
  buckets = { for role in ["primary", "secondary"] : role => {
    name        = local.regions[role].buckets.backups
    kms_key_arn = module.kms.arns[role].backups
  } }
  providers = { aws.primary = aws.primary, aws.secondary = aws.secondary }
}

module "audit" {
  source          = "../../modules/storage"
  purpose         = "audit"
  prefix          = local.prefix
  object_lock     = var.audit_lock
  noncurrent_days = var.audit_lock.days + 30
  buckets = { for role in ["primary", "secondary"] : role => {
    name        = local.regions[role].buckets.audit
    kms_key_arn = module.kms.arns[role].audit
  } }
  providers = { aws.primary = aws.primary, aws.secondary = aws.secondary }
}

module "secrets" {
  source      = "../../modules/secrets"
  environment = var.environment
  names       = toset(local.secrets)
  kms_key_arn = module.kms.arns.primary.secrets
  replicas    = { for role in ["secondary", "witness"] : local.regions[role].name => module.kms.arns[role].secrets }
  providers   = { aws = aws.primary }
}

module "traffic" {
  source           = "../../modules/traffic"
  prefix           = local.prefix
  domain           = var.domain
  api_host         = module.plan.api_host
  edges            = { for role in ["primary", "secondary"] : role => local.regions[role].edge_host }
  routing_controls = var.routing_controls
  providers        = { aws.primary = aws.primary, aws.secondary = aws.secondary }
}

resource "aws_budgets_budget" "month" {
  provider     = aws.primary
  name         = local.prefix
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_amount = tostring(var.monthly_budget_usd)
  limit_unit   = "USD"

  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }
    content {
      comparison_operator        = "GREATER_THAN"
      notification_type          = notification.key
      threshold                  = notification.value
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.budget_emails
    }
  }
}

# What a region's own stack has to know of all this, left in the region itself.
locals {
  parameters = { for role, region in local.regions : role => merge(
    { for name in ["volumes", "cluster", "backups", "audit", "secrets", "logs", "images"] : "keys/${name}" => module.kms.arns[role][name] },
    region.serving ? merge(
      { for name in concat([for i in range(var.relayer_lanes) : "relayer-${i}"], ["paymaster"]) : "signing/${name}" => module.kms.arns[role][name] },
      {
        "dns/zone"        = module.traffic.zone_id
        "dns/certificate" = module.traffic.certificates[role]
      },
    ) : {},
  ) }
}

resource "aws_ssm_parameter" "primary" {
  for_each = local.parameters.primary
  provider = aws.primary
  name     = "${module.plan.parameters}/${each.key}"
  type     = "String"
  value    = each.value
}

resource "aws_ssm_parameter" "secondary" {
  for_each = local.parameters.secondary
  provider = aws.secondary
  name     = "${module.plan.parameters}/${each.key}"
  type     = "String"
  value    = each.value
}

resource "aws_ssm_parameter" "witness" {
  for_each = local.parameters.witness
  provider = aws.witness
  name     = "${module.plan.parameters}/${each.key}"
  type     = "String"
  value    = each.value
}

output "buckets" {
  description = "Buckets by purpose and region."
  value       = { backups = module.backups.names, audit = module.audit.names }
}

output "routing_control_endpoints" {
  description = "Endpoints of the hand switches."
  value       = module.traffic.routing_control_endpoints
}
