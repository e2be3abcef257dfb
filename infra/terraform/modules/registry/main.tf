# One region's images. The pipeline pushes the same digest to each region; no region pulls from another one, least of all when that one is gone.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "names" {
  type        = set(string)
  description = "Repositories: our images, and the operators' images that are mirrored here."
}

variable "kms_key_arn" {
  type        = string
  description = "Customer key of the images."
}

resource "aws_ecr_repository" "this" {
  for_each             = var.names
  name                 = each.key
  image_tag_mutability = "IMMUTABLE"
  force_delete         = false

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.kms_key_arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }

  lifecycle {
    prevent_destroy = true
  }
}

# What was never tagged (or lost its tag) goes; a tagged image may be what a rollback needs.
resource "aws_ecr_lifecycle_policy" "this" {
  for_each   = aws_ecr_repository.this
  repository = each.value.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "untagged"
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
}

output "names" {
  description = "Repositories."
  value       = [for repository in aws_ecr_repository.this : repository.name]
}
