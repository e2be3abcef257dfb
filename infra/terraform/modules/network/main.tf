# One region's network: nodes in private subnets, pods in a range of their own, public subnets for the edge only.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "prefix" {
  type        = string
  description = "settlement-<environment>."
}

variable "region" {
  description = "The region, from the plan."
  type = object({
    name            = string
    role            = string
    serving         = bool
    azs             = list(string)
    vpc_cidr        = string
    pod_cidr        = string
    internal_domain = string
  })
}

variable "account_id" {
  type        = string
  description = "Only this account is reached through the endpoints."
}

variable "nat" {
  type        = string
  description = "Way out to the chain's nodes: zone (one gateway a zone), single (cheaper, and one zone's loss cuts the region off), none."

  validation {
    condition     = contains(["zone", "single", "none"], var.nat)
    error_message = "nat is zone, single or none."
  }
}

variable "endpoints" {
  type        = set(string)
  description = "Provider services that are reached without leaving the network."
  default     = ["aps-workspaces", "ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "elasticloadbalancing", "kms", "logs", "secretsmanager", "sts"]
}

variable "logs_key_arn" {
  type        = string
  description = "Customer key of the flow logs."
}

variable "log_retention_days" {
  type        = number
  description = "How long flow logs are kept."
}

locals {
  zones  = { for i, az in var.region.azs : az => i }
  public = var.region.serving
  nats   = !local.public || var.nat == "none" ? {} : var.nat == "zone" ? local.zones : { (var.region.azs[0]) = 0 }
}

resource "aws_vpc" "this" {
  cidr_block           = var.region.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true

  tags = { Name = "${var.prefix}-${var.region.name}" }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_vpc_ipv4_cidr_block_association" "pods" {
  vpc_id     = aws_vpc.this.id
  cidr_block = var.region.pod_cidr
}

# Whoever forgets to name a security group gets one that lets nothing in or out.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "nodes" {
  for_each                = local.zones
  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = cidrsubnet(var.region.vpc_cidr, 4, each.value)
  map_public_ip_on_launch = false

  tags = { Name = "${var.prefix}-nodes-${each.key}", "kubernetes.io/role/internal-elb" = "1" }
}

resource "aws_subnet" "pods" {
  for_each                = local.zones
  vpc_id                  = aws_vpc_ipv4_cidr_block_association.pods.vpc_id
  availability_zone       = each.key
  cidr_block              = cidrsubnet(var.region.pod_cidr, 2, each.value)
  map_public_ip_on_launch = false

  tags = { Name = "${var.prefix}-pods-${each.key}" }
}

resource "aws_subnet" "edge" {
  for_each                = local.public ? local.zones : {}
  vpc_id                  = aws_vpc.this.id
  availability_zone       = each.key
  cidr_block              = cidrsubnet(var.region.vpc_cidr, 8, 240 + each.value)
  map_public_ip_on_launch = false

  tags = { Name = "${var.prefix}-edge-${each.key}", "kubernetes.io/role/elb" = "1" }
}

resource "aws_internet_gateway" "this" {
  count  = local.public ? 1 : 0
  vpc_id = aws_vpc.this.id
}

resource "aws_route_table" "edge" {
  count  = local.public ? 1 : 0
  vpc_id = aws_vpc.this.id

  tags = { Name = "${var.prefix}-edge" }
}

resource "aws_route" "edge" {
  count                  = local.public ? 1 : 0
  route_table_id         = aws_route_table.edge[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_route_table_association" "edge" {
  for_each       = aws_subnet.edge
  subnet_id      = each.value.id
  route_table_id = aws_route_table.edge[0].id
}

resource "aws_eip" "nat" {
  for_each = local.nats
  domain   = "vpc"

  tags = { Name = "${var.prefix}-nat-${each.key}" }
}

resource "aws_nat_gateway" "this" {
  for_each      = local.nats
  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.edge[each.key].id

  tags       = { Name = "${var.prefix}-${each.key}" }
  depends_on = [aws_internet_gateway.this]
}

# A table a zone: a zone goes out by its own gateway, and peers' routes are added by the interconnect stack (no inline routes here).
resource "aws_route_table" "private" {
  for_each = local.zones
  vpc_id   = aws_vpc.this.id

  tags = { Name = "${var.prefix}-private-${each.key}" }
}

resource "aws_route" "out" {
  for_each               = length(local.nats) == 0 ? {} : local.zones
  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = try(aws_nat_gateway.this[each.key].id, one(values(aws_nat_gateway.this)[*].id))
}

resource "aws_route_table_association" "nodes" {
  for_each       = aws_subnet.nodes
  subnet_id      = each.value.id
  route_table_id = aws_route_table.private[each.key].id
}

resource "aws_route_table_association" "pods" {
  for_each       = aws_subnet.pods
  subnet_id      = each.value.id
  route_table_id = aws_route_table.private[each.key].id
}

resource "aws_security_group" "endpoints" {
  name        = "${var.prefix}-endpoints"
  description = "Provider services, from inside this region only"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each          = { nodes = var.region.vpc_cidr, pods = var.region.pod_cidr }
  security_group_id = aws_security_group.endpoints.id
  description       = "HTTPS from ${each.key}"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = var.endpoints
  vpc_id              = aws_vpc.this.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${var.region.name}.${each.key}"
  private_dns_enabled = true
  subnet_ids          = [for subnet in aws_subnet.nodes : subnet.id]
  security_group_ids  = [aws_security_group.endpoints.id]

  tags = { Name = "${var.prefix}-${each.key}" }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${var.region.name}.s3"
  route_table_ids   = [for table in aws_route_table.private : table.id]

  # Nothing is carried out into a bucket of somebody else. Image layers come from the provider's own bucket of this region.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "BucketsOfThisAccount"
        Effect    = "Allow"
        Principal = "*"
        Action    = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:AbortMultipartUpload", "s3:GetBucketLocation"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:ResourceAccount" = var.account_id, "aws:PrincipalAccount" = var.account_id } }
      },
      {
        Sid       = "ImageLayers"
        Effect    = "Allow"
        Principal = "*"
        Action    = ["s3:GetObject"]
        Resource  = "arn:aws:s3:::prod-${var.region.name}-starport-layer-bucket/*"
      },
    ]
  })

  tags = { Name = "${var.prefix}-s3" }
}

resource "aws_cloudwatch_log_group" "flows" {
  name              = "/${var.prefix}/${var.region.name}/flows"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_iam_role" "flows" {
  name = "${var.prefix}-${var.region.name}-flow-logs"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "FlowLogs"
      Effect    = "Allow"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "flows" {
  name = "write"
  role = aws_iam_role.flows.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "WriteFlowLogs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
      Resource = "arn:aws:logs:${var.region.name}:${var.account_id}:log-group:/${var.prefix}/${var.region.name}/flows:*"
    }]
  })
}

resource "aws_flow_log" "this" {
  vpc_id                   = aws_vpc.this.id
  traffic_type             = "ALL"
  log_destination_type     = "cloud-watch-logs"
  log_destination          = aws_cloudwatch_log_group.flows.arn
  iam_role_arn             = aws_iam_role.flows.arn
  max_aggregation_interval = 60
}

# Names of this region for all regions. Each region owns its zone; the interconnect stack lets the others resolve it.
resource "aws_route53_zone" "internal" {
  name          = var.region.internal_domain
  comment       = "${var.prefix}: how regions find each other"
  force_destroy = false

  vpc {
    vpc_id = aws_vpc.this.id
  }

  lifecycle {
    prevent_destroy = true
    ignore_changes  = [vpc] # the peers' associations belong to the interconnect stack
  }
}

output "vpc_id" {
  description = "VPC."
  value       = aws_vpc.this.id
}

output "node_subnets" {
  description = "Subnet of nodes by zone."
  value       = { for zone, subnet in aws_subnet.nodes : zone => subnet.id }
}

output "pod_subnets" {
  description = "Subnet of pods by zone."
  value       = { for zone, subnet in aws_subnet.pods : zone => subnet.id }
}

output "edge_subnets" {
  description = "Public subnets; none in the witness."
  value       = [for subnet in aws_subnet.edge : subnet.id]
}

output "node_cidrs" {
  description = "Addresses of nodes, of the cluster's API and of the inner load balancers, for network policies."
  value       = [for subnet in aws_subnet.nodes : subnet.cidr_block]
}

output "edge_cidrs" {
  description = "Addresses from which the edge's load balancer calls pods, for network policies."
  value       = [for subnet in aws_subnet.edge : subnet.cidr_block]
}

output "private_route_tables" {
  description = "Tables that get the peers' routes."
  value       = [for table in aws_route_table.private : table.id]
}

output "internal_zone_id" {
  description = "This region's private zone."
  value       = aws_route53_zone.internal.zone_id
}
