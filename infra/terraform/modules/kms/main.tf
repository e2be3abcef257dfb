# Customer keys, the same in all three regions: what one region has encrypted or signs for, another one can go on with.
# The primary of a multi-region key is where it is administered; using a replica needs nothing from there.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source                = "hashicorp/aws"
      version               = "~> 5.100"
      configuration_aliases = [aws.primary, aws.secondary, aws.witness]
    }
  }
}

variable "prefix" {
  type        = string
  description = "settlement-<environment>."
}

variable "account_id" {
  type        = string
  description = "Account of the keys."
}

variable "regions" {
  type        = map(string)
  description = "Region of each role."
}

variable "encryption" {
  type        = set(string)
  description = "Names of the symmetric keys, one for each kind of data, so that access to one is not access to all."
  default     = ["volumes", "cluster", "backups", "audit", "secrets", "logs", "images"]
}

variable "signing" {
  type        = map(string)
  description = "secp256k1 keys that sign for the chain: name, and the service that may use it."

  validation {
    condition     = alltrue([for service in values(var.signing) : contains(["relayer", "paymaster"], service)])
    error_message = "Only the relayer and the paymaster sign."
  }
}

locals {
  keys = merge(
    { for name in var.encryption : name => { usage = "ENCRYPT_DECRYPT", spec = "SYMMETRIC_DEFAULT", service = null } },
    { for name, service in var.signing : name => { usage = "SIGN_VERIFY", spec = "ECC_SECG_P256K1", service = service } },
  )
  root = "arn:aws:iam::${var.account_id}:root"

  administration = {
    # Without it nobody could ever change the key again. It lets IAM decide; it gives nothing to anybody by itself. Signing is not in it.
    Sid       = "AccountAdministersThroughIam"
    Effect    = "Allow"
    Principal = { AWS = local.root }
    Action = [
      "kms:Describe*", "kms:Get*", "kms:List*", "kms:Create*", "kms:Enable*", "kms:Update*", "kms:Put*", "kms:TagResource", "kms:UntagResource",
      "kms:ReplicateKey", "kms:CancelKeyDeletion", "kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:RevokeGrant",
    ]
    Resource = "*"
  }

  autoscaling = "arn:aws:iam::${var.account_id}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"

  # By region and by key, since a replica has a policy of its own. Each statement with the keys that it is for.
  policies = { for role, region in var.regions : role => { for name, key in local.keys : name => jsonencode({
    Version = "2012-10-17"
    Statement = [for entry in [
      { for_key = true, statement = local.administration },
      {
        for_key = key.usage == "SIGN_VERIFY"
        statement = {
          Sid       = "OneServiceSigns"
          Effect    = "Allow"
          Principal = { AWS = local.root }
          Action    = ["kms:Sign"]
          Resource  = "*"
          Condition = {
            ArnEquals    = { "aws:PrincipalArn" = "arn:aws:iam::${var.account_id}:role/${var.prefix}-${region}-${coalesce(key.service, "nobody")}" }
            StringEquals = { "kms:MessageType" = "DIGEST", "kms:SigningAlgorithm" = "ECDSA_SHA_256" }
          }
        }
      },
      {
        for_key = key.usage == "ENCRYPT_DECRYPT"
        statement = {
          Sid       = "UseThroughIam"
          Effect    = "Allow"
          Principal = { AWS = local.root }
          Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"]
          Resource  = "*"
        }
      },
      {
        # Volumes and Kubernetes work by grants; a grant only for services of the provider, never for a person.
        for_key = key.usage == "ENCRYPT_DECRYPT"
        statement = {
          Sid       = "GrantsForServices"
          Effect    = "Allow"
          Principal = { AWS = local.root }
          Action    = ["kms:CreateGrant"]
          Resource  = "*"
          Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
        }
      },
      {
        for_key = name == "logs"
        statement = {
          Sid       = "LogGroupsOfThisRegion"
          Effect    = "Allow"
          Principal = { Service = "logs.${region}.amazonaws.com" }
          Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"]
          Resource  = "*"
          Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:${region}:${var.account_id}:log-group:*" } }
        }
      },
      {
        for_key = name == "logs"
        statement = {
          Sid       = "AlarmsReachTheirTopic"
          Effect    = "Allow"
          Principal = { Service = "cloudwatch.amazonaws.com" }
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = "*"
          Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
        }
      },
      {
        # Nodes are started by the autoscaling service, which has to open their encrypted disks.
        for_key = name == "volumes"
        statement = {
          Sid       = "AutoscalingStartsNodes"
          Effect    = "Allow"
          Principal = { AWS = local.autoscaling }
          Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey"]
          Resource  = "*"
        }
      },
      {
        for_key = name == "volumes"
        statement = {
          Sid       = "AutoscalingGrants"
          Effect    = "Allow"
          Principal = { AWS = local.autoscaling }
          Action    = ["kms:CreateGrant"]
          Resource  = "*"
          Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
        }
      },
    ] : entry.statement if entry.for_key]
  }) } }
}

resource "aws_kms_key" "this" {
  for_each = local.keys
  provider = aws.primary

  description              = "${var.prefix} ${each.key}"
  key_usage                = each.value.usage
  customer_master_key_spec = each.value.spec
  multi_region             = true
  # The provider rotates symmetric keys only; a signing key is an address on the chain and is replaced by a new lane instead.
  enable_key_rotation     = each.value.usage == "ENCRYPT_DECRYPT"
  rotation_period_in_days = each.value.usage == "ENCRYPT_DECRYPT" ? 365 : null
  deletion_window_in_days = 30
  policy                  = local.policies["primary"][each.key]

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_replica_key" "secondary" {
  for_each = local.keys
  provider = aws.secondary

  description             = "${var.prefix} ${each.key}"
  primary_key_arn         = aws_kms_key.this[each.key].arn
  deletion_window_in_days = 30
  policy                  = local.policies["secondary"][each.key]

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_replica_key" "witness" {
  for_each = { for name, key in local.keys : name => key if key.usage == "ENCRYPT_DECRYPT" } # the witness never signs
  provider = aws.witness

  description             = "${var.prefix} ${each.key}"
  primary_key_arn         = aws_kms_key.this[each.key].arn
  deletion_window_in_days = 30
  policy                  = local.policies["witness"][each.key]

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "primary" {
  for_each      = aws_kms_key.this
  provider      = aws.primary
  name          = "alias/${var.prefix}-${each.key}"
  target_key_id = each.value.arn
}

resource "aws_kms_alias" "secondary" {
  for_each      = aws_kms_replica_key.secondary
  provider      = aws.secondary
  name          = "alias/${var.prefix}-${each.key}"
  target_key_id = each.value.arn
}

resource "aws_kms_alias" "witness" {
  for_each      = aws_kms_replica_key.witness
  provider      = aws.witness
  name          = "alias/${var.prefix}-${each.key}"
  target_key_id = each.value.arn
}

output "arns" {
  description = "ARN of each key in each region, by role and name."
  value = {
    primary   = { for name, key in aws_kms_key.this : name => key.arn }
    secondary = { for name, key in aws_kms_replica_key.secondary : name => key.arn }
    witness   = { for name, key in aws_kms_replica_key.witness : name => key.arn }
  }
}
