# A region's place for state, made once by hand before anything else: see infra/terraform/README.md. Its own state moves into it afterwards.
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
  region              = var.region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      application = "settlement"
      environment = var.environment
      stack       = "bootstrap"
      managed-by  = "terraform"
    }
  }
}

variable "environment" {
  type        = string
  description = "production or drill."

  validation {
    condition     = contains(["production", "drill"], var.environment)
    error_message = "environment is production or drill."
  }
}

variable "account_id" {
  type        = string
  description = "Account of this environment."

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id has 12 digits."
  }
}

variable "region" {
  type        = string
  description = "Region whose state is kept here, in the region itself."

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is a region's name, such as eu-central-1."
  }
}

variable "replica" {
  description = "Where a copy of the state goes: another region's state bucket and key, by value. Null in the first pass, when that bucket is not there yet."
  type = object({
    region      = string
    kms_key_arn = string
  })
  default = null

  validation {
    condition     = var.replica == null || try(var.replica.region, "") != var.region
    error_message = "The copy of a region's state is in another region."
  }

  validation {
    condition     = var.replica == null || can(regex("^arn:aws:kms:${try(var.replica.region, "")}:[0-9]{12}:key/", var.replica.kms_key_arn))
    error_message = "replica.kms_key_arn is a key in the replica's region."
  }
}

locals {
  prefix      = "settlement-${var.environment}"
  bucket      = "${local.prefix}-state-${var.region}-${var.account_id}"
  replica_arn = try("arn:aws:s3:::${local.prefix}-state-${var.replica.region}-${var.account_id}", null)
}

# A key of this region alone, not a multi-region one: a region's state must open with nothing but the region itself.
resource "aws_kms_key" "state" {
  description             = "${local.prefix} state of ${var.region}"
  enable_key_rotation     = true
  rotation_period_in_days = 365
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "AccountAdministersThroughIam"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::${var.account_id}:root" }
      Action    = ["kms:*"]
      Resource  = "*"
    }]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "state" {
  name          = "alias/${local.prefix}-state"
  target_key_id = aws_kms_key.state.arn
}

module "bucket" {
  source          = "../../modules/bucket"
  name            = local.bucket
  kms_key_arn     = aws_kms_key.state.arn
  noncurrent_days = 400
}

resource "aws_iam_role" "replication" {
  count = var.replica == null ? 0 : 1
  name  = "${local.prefix}-state-from-${var.region}"

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = "S3Replicates", Effect = "Allow", Principal = { Service = "s3.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "replication" {
  count = var.replica == null ? 0 : 1
  name  = "replicate"
  role  = aws_iam_role.replication[0].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "ReadConfiguration", Effect = "Allow", Action = ["s3:GetReplicationConfiguration", "s3:ListBucket"], Resource = module.bucket.arn },
      { Sid = "ReadVersions", Effect = "Allow", Action = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"], Resource = "${module.bucket.arn}/*" },
      { Sid = "WriteReplicas", Effect = "Allow", Action = ["s3:ReplicateObject", "s3:ReplicateTags"], Resource = "${local.replica_arn}/states/${var.region}/*" },
      { Sid = "DecryptSource", Effect = "Allow", Action = ["kms:Decrypt"], Resource = aws_kms_key.state.arn },
      { Sid = "EncryptReplica", Effect = "Allow", Action = ["kms:Encrypt", "kms:GenerateDataKey"], Resource = var.replica.kms_key_arn },
    ]
  })
}

# Keys stay as they are, and begin with the region they belong to: a copy never lies where that bucket's own states are.
resource "aws_s3_bucket_replication_configuration" "state" {
  count  = var.replica == null ? 0 : 1
  bucket = module.bucket.name
  role   = aws_iam_role.replication[0].arn

  rule {
    id       = "state"
    status   = "Enabled"
    priority = 0

    filter {
      prefix = "states/${var.region}/"
    }

    delete_marker_replication {
      status = "Disabled"
    }

    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }

    destination {
      bucket        = local.replica_arn
      storage_class = "STANDARD"

      encryption_configuration {
        replica_kms_key_id = var.replica.kms_key_arn
      }

      replication_time {
        status = "Enabled"
        time {
          minutes = 15
        }
      }

      metrics {
        status = "Enabled"
        event_threshold {
          minutes = 15
        }
      }
    }
  }
}

output "bucket" {
  description = "Bucket of the backend configurations of this region."
  value       = module.bucket.name
}

output "kms_key_arn" {
  description = "For the other region's replica variable."
  value       = aws_kms_key.state.arn
}
