# A line between two regions, for replication and for failover's controller. Traffic between regions is encrypted by the provider below
# Postgres's own TLS. Two regions by nature, so two providers; used by the interconnect stack only.
terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source                = "hashicorp/aws"
      version               = "~> 5.100"
      configuration_aliases = [aws.a, aws.b]
    }
  }
}

variable "name" {
  type        = string
  description = "Name of the line."
}

variable "ends" {
  description = "The two ends."
  type = object({
    a = object({ region = string, vpc_id = string, cidrs = list(string), route_tables = list(string), zone_id = string })
    b = object({ region = string, vpc_id = string, cidrs = list(string), route_tables = list(string), zone_id = string })
  })

  validation {
    condition     = var.ends.a.region != var.ends.b.region
    error_message = "A line has its ends in two regions."
  }
}

locals {
  # Each table of one side leads to each range of the other.
  to_b = { for pair in setproduct(var.ends.a.route_tables, var.ends.b.cidrs) : "${pair[0]} ${pair[1]}" => { table = pair[0], cidr = pair[1] } }
  to_a = { for pair in setproduct(var.ends.b.route_tables, var.ends.a.cidrs) : "${pair[0]} ${pair[1]}" => { table = pair[0], cidr = pair[1] } }
}

resource "aws_vpc_peering_connection" "this" {
  provider    = aws.a
  vpc_id      = var.ends.a.vpc_id
  peer_vpc_id = var.ends.b.vpc_id
  peer_region = var.ends.b.region
  auto_accept = false # not possible between regions

  tags = { Name = var.name }

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_vpc_peering_connection_accepter" "this" {
  provider                  = aws.b
  vpc_peering_connection_id = aws_vpc_peering_connection.this.id
  auto_accept               = true

  tags = { Name = var.name }
}

resource "aws_route" "to_b" {
  for_each                  = local.to_b
  provider                  = aws.a
  route_table_id            = each.value.table
  destination_cidr_block    = each.value.cidr
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.this.vpc_peering_connection_id
}

resource "aws_route" "to_a" {
  for_each                  = local.to_a
  provider                  = aws.b
  route_table_id            = each.value.table
  destination_cidr_block    = each.value.cidr
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.this.vpc_peering_connection_id
}

# Each end resolves the other's names.
resource "aws_route53_zone_association" "a_for_b" {
  provider   = aws.a
  zone_id    = var.ends.a.zone_id
  vpc_id     = var.ends.b.vpc_id
  vpc_region = var.ends.b.region
}

resource "aws_route53_zone_association" "b_for_a" {
  provider   = aws.b
  zone_id    = var.ends.b.zone_id
  vpc_id     = var.ends.a.vpc_id
  vpc_region = var.ends.a.region
}

output "id" {
  description = "The peering connection."
  value       = aws_vpc_peering_connection.this.id
}
