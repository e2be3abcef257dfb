# Containers of secrets, the same in all regions. Their values are written by operators and never pass through Terraform or its state.
# A region reads its own replica; if the primary region is gone, its replica can be made independent from there.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "environment" {
  type        = string
  description = "Part of every name."
}

variable "names" {
  type        = set(string)
  description = "What is kept: settlement/<environment>/<name>."
}

variable "kms_key_arn" {
  type        = string
  description = "Customer key in the region of the primary copies."
}

variable "replicas" {
  type        = map(string)
  description = "Customer key (ARN) of each further region."

  validation {
    condition     = length(var.replicas) >= 2
    error_message = "Each secret has replicas in the two other regions: roles and passwords of Postgres are the same everywhere."
  }
}

resource "aws_secretsmanager_secret" "this" {
  for_each                = var.names
  name                    = "settlement/${var.environment}/${each.key}"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = 30

  dynamic "replica" {
    for_each = var.replicas
    content {
      region     = replica.key
      kms_key_id = replica.value
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

output "names" {
  description = "Names for the external secrets of the chart."
  value       = [for secret in aws_secretsmanager_secret.this : secret.name]
}
