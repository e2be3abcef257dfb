# Lines between the regions: routes and names for replication. Applied after the regions; a line that stands needs nobody to keep it.
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
      stack       = "interconnect"
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
      stack       = "interconnect"
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
      stack       = "interconnect"
      managed-by  = "terraform"
    }
  }
}

data "aws_ssm_parameter" "primary" {
  for_each = local.wanted
  provider = aws.primary
  name     = "${module.plan.parameters}/network/${each.key}"
}

data "aws_ssm_parameter" "secondary" {
  for_each = local.wanted
  provider = aws.secondary
  name     = "${module.plan.parameters}/network/${each.key}"
}

data "aws_ssm_parameter" "witness" {
  for_each = local.wanted
  provider = aws.witness
  name     = "${module.plan.parameters}/network/${each.key}"
}

locals {
  wanted = toset(["vpc", "route-tables", "zone"])
  found = {
    primary   = { for name, parameter in data.aws_ssm_parameter.primary : name => parameter.insecure_value }
    secondary = { for name, parameter in data.aws_ssm_parameter.secondary : name => parameter.insecure_value }
    witness   = { for name, parameter in data.aws_ssm_parameter.witness : name => parameter.insecure_value }
  }
  ends = { for role, region in module.plan.regions : role => {
    region       = region.name
    vpc_id       = local.found[role].vpc
    cidrs        = [region.vpc_cidr, region.pod_cidr]
    route_tables = split(",", local.found[role]["route-tables"])
    zone_id      = local.found[role].zone
  } }
}

module "primary_secondary" {
  source    = "../../modules/peering"
  name      = "${module.plan.name}-primary-secondary"
  ends      = { a = local.ends.primary, b = local.ends.secondary }
  providers = { aws.a = aws.primary, aws.b = aws.secondary }
}

module "primary_witness" {
  source    = "../../modules/peering"
  name      = "${module.plan.name}-primary-witness"
  ends      = { a = local.ends.primary, b = local.ends.witness }
  providers = { aws.a = aws.primary, aws.b = aws.witness }
}

module "secondary_witness" {
  source    = "../../modules/peering"
  name      = "${module.plan.name}-secondary-witness"
  ends      = { a = local.ends.secondary, b = local.ends.witness }
  providers = { aws.a = aws.secondary, aws.b = aws.witness }
}
