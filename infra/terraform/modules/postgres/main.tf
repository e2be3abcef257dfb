# What one region's Postgres needs around it. The database itself is CloudNativePG's, inside the cluster: see docs/adr/0087.
# A way in for the other regions' replication (and theirs only), a name, encrypted volumes, and a place for backups and WAL.
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
    name          = string
    role          = string
    serving       = bool
    postgres_host = string
  })
}

variable "vpc_id" {
  type        = string
  description = "This region's VPC."
}

variable "subnets" {
  type        = map(string)
  description = "Private subnet by zone."

  validation {
    condition     = length(var.subnets) == 3
    error_message = "The way in stands in three zones."
  }
}

variable "internal_zone_id" {
  type        = string
  description = "This region's private zone."
}

variable "node_security_group_id" {
  type        = string
  description = "Group of nodes and pods."
}

variable "peer_cidrs" {
  type        = map(list(string))
  description = "Nodes' and pods' ranges of each other region: whence replication comes."

  validation {
    condition     = length(var.peer_cidrs) == 2 && alltrue(flatten([for cidrs in var.peer_cidrs : [for cidr in cidrs : can(cidrhost(cidr, 0)) && cidr != "0.0.0.0/0"]]))
    error_message = "Replication comes from exactly the two other regions' networks."
  }
}

variable "volumes_key_arn" {
  type        = string
  description = "Customer key of the volumes."
}

variable "backup_bucket" {
  type        = string
  description = "This region's bucket for base backups and WAL; null in the witness, which votes and keeps no archive."
  default     = null

  validation {
    condition     = var.backup_bucket != null || !var.region.serving
    error_message = "A region that can become the writer archives its WAL."
  }
}

variable "recovery_window_days" {
  type        = number
  description = "How far back any second can be restored: base backups and all WAL since."

  validation {
    condition     = var.recovery_window_days >= 7
    error_message = "Point-in-time recovery reaches back at least 7 days."
  }
}

variable "volume" {
  description = "Size and speed of one instance's volume."
  type = object({
    size_gib   = number
    iops       = number
    throughput = number
  })

  validation {
    condition     = var.volume.iops >= 3000 && var.volume.iops <= 16000 && var.volume.throughput >= 125 && var.volume.throughput <= 1000
    error_message = "gp3 volumes have 3,000 to 16,000 IOPS and 125 to 1,000 MiB/s."
  }
}

locals {
  peers = merge([for peer, cidrs in var.peer_cidrs : { for i, cidr in cidrs : "${peer}-${i}" => cidr }]...)
  port  = 5432
}

resource "aws_security_group" "replication" {
  name        = "${var.prefix}-postgres-replication"
  description = "Replication from the other regions"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "peers" {
  for_each          = local.peers
  security_group_id = aws_security_group.replication.id
  description       = "Postgres from ${each.key}"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.port
  to_port           = local.port
}

resource "aws_vpc_security_group_egress_rule" "to_pods" {
  security_group_id            = aws_security_group.replication.id
  description                  = "Postgres pods"
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_vpc_security_group_ingress_rule" "from_replication" {
  security_group_id            = var.node_security_group_id
  description                  = "Postgres from the replication load balancer"
  referenced_security_group_id = aws_security_group.replication.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

# Not public, not TLS-terminating: Postgres itself asks for the peer's certificate, and shows its own, end to end.
resource "aws_lb" "replication" {
  name                             = "${var.prefix}-pg"
  internal                         = true
  load_balancer_type               = "network"
  subnets                          = values(var.subnets)
  security_groups                  = [aws_security_group.replication.id]
  enable_cross_zone_load_balancing = true
  enable_deletion_protection       = true

  lifecycle {
    prevent_destroy = true
  }
}

# Pods are entered by the cluster (a TargetGroupBinding of the Service that selects the primary or the designated primary).
resource "aws_lb_target_group" "replication" {
  name                   = "${var.prefix}-pg"
  vpc_id                 = var.vpc_id
  target_type            = "ip"
  protocol               = "TCP"
  port                   = local.port
  deregistration_delay   = 5
  connection_termination = true # a session to a demoted instance is cut, not drained: it must not go on being acknowledged
  preserve_client_ip     = false

  health_check {
    protocol            = "TCP"
    port                = "traffic-port"
    interval            = 5
    timeout             = 4
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "replication" {
  load_balancer_arn = aws_lb.replication.arn
  protocol          = "TCP"
  port              = local.port

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.replication.arn
  }
}

resource "aws_route53_record" "replication" {
  zone_id = var.internal_zone_id
  name    = var.region.postgres_host
  type    = "A"

  alias {
    name                   = aws_lb.replication.dns_name
    zone_id                = aws_lb.replication.zone_id
    evaluate_target_health = false # one way in; an answer that leads nowhere is better than none, Postgres tries again
  }
}

output "target_group_arn" {
  description = "Group that the cluster binds to Postgres's Service for other regions."
  value       = aws_lb_target_group.replication.arn
}

output "host" {
  description = "Name by which the other regions reach this one's Postgres."
  value       = aws_route53_record.replication.name
}

output "storage_class" {
  description = "StorageClass for the cluster. Volumes outlive their claims."
  value = {
    apiVersion           = "storage.k8s.io/v1"
    kind                 = "StorageClass"
    metadata             = { name = "settlement-postgres" }
    provisioner          = "ebs.csi.aws.com"
    reclaimPolicy        = "Retain"
    volumeBindingMode    = "WaitForFirstConsumer"
    allowVolumeExpansion = true
    parameters = {
      type       = "gp3"
      encrypted  = "true"
      kmsKeyId   = var.volumes_key_arn
      iops       = tostring(var.volume.iops)
      throughput = tostring(var.volume.throughput)
    }
  }
}

output "backup" {
  description = "Where base backups and WAL go, and how far back they reach; null in the witness."
  value       = var.backup_bucket == null ? null : { destination = "s3://${var.backup_bucket}/postgres", retention = "${var.recovery_window_days}d" }
}

# Only below its prefix, and no deletion of versions: what expires becomes a deletion marker, and the version stays locked.
output "identity" {
  description = "What the database's pods may do with the provider."
  value = var.backup_bucket == null ? [] : [
    { Sid = "ListBackups", Action = ["s3:ListBucket", "s3:GetBucketLocation"], Resource = ["arn:aws:s3:::${var.backup_bucket}"] },
    { Sid = "KeepBackups", Action = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], Resource = ["arn:aws:s3:::${var.backup_bucket}/postgres/*"] },
  ]
}
