# A pair of buckets of one purpose, each the other's replica. Both directions, because either region may be the one that writes.
# Lives in the global stack: replication names two regions by nature.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source                = "hashicorp/aws"
      version               = "~> 5.100"
      configuration_aliases = [aws.primary, aws.secondary]
    }
  }
}

variable "purpose" {
  type        = string
  description = "What the buckets hold: backups or audit."
}

variable "prefix" {
  type        = string
  description = "settlement-<environment>."
}

variable "buckets" {
  description = "Name and customer key of each region's bucket."
  type = object({
    primary   = object({ name = string, kms_key_arn = string })
    secondary = object({ name = string, kms_key_arn = string })
  })

  validation {
    condition     = var.buckets.primary.name != var.buckets.secondary.name
    error_message = "A pair of buckets has two names."
  }
}

variable "object_lock" {
  description = "See the bucket module. Required here: what is replicated is what must not be lost."
  type = object({
    mode = string
    days = number
  })
  nullable = false
}

variable "noncurrent_days" {
  type        = number
  description = "See the bucket module."

  validation {
    condition     = var.noncurrent_days >= var.object_lock.days
    error_message = "Versions are kept at least as long as they are locked; a shorter rule would fail silently."
  }
}

module "primary" {
  source          = "../bucket"
  name            = var.buckets.primary.name
  kms_key_arn     = var.buckets.primary.kms_key_arn
  object_lock     = var.object_lock
  noncurrent_days = var.noncurrent_days
  providers       = { aws = aws.primary }
}

module "secondary" {
  source          = "../bucket"
  name            = var.buckets.secondary.name
  kms_key_arn     = var.buckets.secondary.kms_key_arn
  object_lock     = var.object_lock
  noncurrent_days = var.noncurrent_days
  providers       = { aws = aws.secondary }
}

locals {
  sides = {
    primary   = { from = module.primary, to = module.secondary, from_key = var.buckets.primary.kms_key_arn, to_key = var.buckets.secondary.kms_key_arn }
    secondary = { from = module.secondary, to = module.primary, from_key = var.buckets.secondary.kms_key_arn, to_key = var.buckets.primary.kms_key_arn }
  }
}

resource "aws_iam_role" "replication" {
  for_each = local.sides
  provider = aws.primary
  name     = "${var.prefix}-${var.purpose}-from-${each.key}"

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = "S3Replicates", Effect = "Allow", Principal = { Service = "s3.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "replication" {
  for_each = local.sides
  provider = aws.primary
  name     = "replicate"
  role     = aws_iam_role.replication[each.key].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "ReadConfiguration", Effect = "Allow", Action = ["s3:GetReplicationConfiguration", "s3:ListBucket"], Resource = each.value.from.arn },
      {
        Sid      = "ReadVersions"
        Effect   = "Allow"
        Action   = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging", "s3:GetObjectRetention", "s3:GetObjectLegalHold"]
        Resource = "${each.value.from.arn}/*"
      },
      { Sid = "WriteReplicas", Effect = "Allow", Action = ["s3:ReplicateObject", "s3:ReplicateTags"], Resource = "${each.value.to.arn}/*" },
      { Sid = "DecryptSource", Effect = "Allow", Action = ["kms:Decrypt"], Resource = each.value.from_key },
      { Sid = "EncryptReplica", Effect = "Allow", Action = ["kms:Encrypt", "kms:GenerateDataKey"], Resource = each.value.to_key },
    ]
  })
}

resource "aws_s3_bucket_replication_configuration" "primary" {
  provider = aws.primary
  bucket   = module.primary.name
  role     = aws_iam_role.replication["primary"].arn

  rule {
    id       = "to-secondary"
    status   = "Enabled"
    priority = 0

    filter {}

    # A deletion here must not become one there: the replica is what is left after a mistake or a stolen credential.
    delete_marker_replication {
      status = "Disabled"
    }

    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }

    destination {
      bucket        = module.secondary.arn
      storage_class = "STANDARD"

      encryption_configuration {
        replica_kms_key_id = var.buckets.secondary.kms_key_arn
      }

      # Replication time control: 15 minutes is the only value that there is.
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

resource "aws_s3_bucket_replication_configuration" "secondary" {
  provider = aws.secondary
  bucket   = module.secondary.name
  role     = aws_iam_role.replication["secondary"].arn

  rule {
    id       = "to-primary"
    status   = "Enabled"
    priority = 0

    filter {}

    delete_marker_replication {
      status = "Disabled"
    }

    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }

    destination {
      bucket        = module.primary.arn
      storage_class = "STANDARD"

      encryption_configuration {
        replica_kms_key_id = var.buckets.primary.kms_key_arn
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

output "names" {
  description = "Bucket of each region."
  value       = { primary = module.primary.name, secondary = module.secondary.name }
}
