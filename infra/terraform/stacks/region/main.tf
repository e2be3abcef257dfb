# One region, all of it, from its own API and its own state alone: no other region's state, no provider of another region. What it must know of the
# others are values of the plan; what the global stack made for it lies in parameters of this very region.
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
  region              = var.regions[var.role].name
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      application = "settlement"
      environment = var.environment
      stack       = "region"
      managed-by  = "terraform"
    }
  }
}

locals {
  prefix  = module.plan.name
  region  = module.plan.regions[var.role]
  peers   = { for role, region in module.plan.regions : role => region if role != var.role }
  serving = local.region.serving
  signing = local.serving ? merge({ for i in range(var.relayer_lanes) : "relayer-${i}" => "relayer" }, { paymaster = "paymaster" }) : {}
  wanted = toset(concat(
    [for name in ["volumes", "cluster", "backups", "audit", "secrets", "logs", "images"] : "keys/${name}"],
    [for name in keys(local.signing) : "signing/${name}"],
    local.serving ? ["dns/zone", "dns/certificate"] : [],
  ))
  given = { for name, parameter in data.aws_ssm_parameter.global : name => parameter.insecure_value }
  keys  = { for name, value in local.given : trimprefix(name, "keys/") => value if startswith(name, "keys/") }
}

data "aws_ssm_parameter" "global" {
  for_each = local.wanted
  name     = "${module.plan.parameters}/${each.key}"
}

module "network" {
  source             = "../../modules/network"
  prefix             = local.prefix
  region             = local.region
  account_id         = var.account_id
  nat                = local.serving ? (var.idle ? "none" : var.nat) : "none"
  logs_key_arn       = local.keys.logs
  log_retention_days = var.log_retention_days
}

module "cluster" {
  source             = "../../modules/cluster"
  prefix             = local.prefix
  account_id         = var.account_id
  region             = local.region
  kubernetes_version = var.kubernetes_version
  addon_versions     = var.addon_versions
  node_subnets       = module.network.node_subnets
  pod_subnets        = module.network.pod_subnets
  node_groups        = { for purpose, group in var.node_groups : purpose => group if local.serving || contains(["system", "postgres"], purpose) }
  idle               = var.idle
  api_client_cidrs   = var.api_client_cidrs
  admin_role_arn     = var.admin_role_arn
  deployer_role_arn  = var.deployer_role_arn
  keys               = { cluster = local.keys.cluster, volumes = local.keys.volumes, logs = local.keys.logs }
  log_retention_days = var.log_retention_days
  identities         = local.identities
}

module "postgres" {
  source                 = "../../modules/postgres"
  prefix                 = local.prefix
  region                 = local.region
  vpc_id                 = module.network.vpc_id
  subnets                = module.network.node_subnets
  internal_zone_id       = module.network.internal_zone_id
  node_security_group_id = module.cluster.security_group_id
  peer_cidrs             = { for role, peer in local.peers : role => [peer.vpc_cidr, peer.pod_cidr] }
  volumes_key_arn        = local.keys.volumes
  backup_bucket          = local.serving ? local.region.buckets.backups : null
  recovery_window_days   = var.recovery_window_days
  volume                 = var.postgres_volume
}

# The witness has no Kafka: it votes on commits and executes nothing.
module "kafka" {
  count           = local.serving ? 1 : 0
  source          = "../../modules/kafka"
  zones           = local.region.azs
  brokers         = var.kafka.brokers
  volume_gib      = var.kafka.volume_gib
  volumes_key_arn = local.keys.volumes
}

module "edge" {
  count                  = local.serving ? 1 : 0
  source                 = "../../modules/edge"
  prefix                 = local.prefix
  region_name            = local.region.name
  vpc_id                 = module.network.vpc_id
  subnets                = module.network.edge_subnets
  node_security_group_id = module.cluster.security_group_id
  certificate_arn        = local.given["dns/certificate"]
  zone_id                = local.given["dns/zone"]
  host                   = local.region.edge_host
  api_host               = module.plan.api_host
  logs_key_arn           = local.keys.logs
  log_retention_days     = var.log_retention_days
  requests_per_ip        = var.requests_per_ip
}

module "registry" {
  source      = "../../modules/registry"
  kms_key_arn = local.keys.images
  names = toset(concat(
    ["settlement-postgresql"],
    local.serving ? ["settlement-kafka"] : [],
    local.serving ? [for service in ["gateway", "relayer", "paymaster", "batch-settlement", "compliance-screening"] : "settlement-${service}"] : [],
    # Mirrored, so that a region starts without anybody's public registry.
    [for image in var.mirrored_images : "mirror/${image}"],
  ))
}

module "observability" {
  source             = "../../modules/observability"
  prefix             = local.prefix
  account_id         = var.account_id
  region_name        = local.region.name
  logs_key_arn       = local.keys.logs
  log_retention_days = var.log_retention_days
  alarm_emails       = var.alarm_emails
  edge               = local.serving ? module.edge[0].load_balancer : null
  replications = local.serving ? { for purpose, bucket in local.region.buckets : purpose => {
    source      = bucket
    destination = one([for peer in local.peers : peer.buckets[purpose] if peer.serving])
    rule        = var.role == "primary" ? "to-secondary" : "to-primary"
  } } : {}
}

# For the interconnect stack and for people, in this region.
resource "aws_ssm_parameter" "network" {
  for_each = {
    "vpc"          = module.network.vpc_id
    "route-tables" = join(",", module.network.private_route_tables)
    "zone"         = module.network.internal_zone_id
  }
  name  = "${module.plan.parameters}/network/${each.key}"
  type  = "String"
  value = each.value
}
