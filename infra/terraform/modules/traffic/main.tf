# Which region clients reach, decided by health alone. Route 53 checks and answers in its data plane, which is spread over the world;
# its control plane (one region) is needed to change this file's resources, and never to fail over.
# A region without the epoch is not ready, so at most one region's check is green: the weights never split writers.
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

variable "prefix" {
  type        = string
  description = "settlement-<environment>."
}

variable "domain" {
  type        = string
  description = "The environment's public zone."
}

variable "api_host" {
  type        = string
  description = "Name that clients use."
}

variable "edges" {
  type        = map(string)
  description = "Host name of each serving region's edge, by role."

  validation {
    condition     = join(",", sort(keys(var.edges))) == "primary,secondary"
    error_message = "Traffic goes to primary and secondary; the witness serves nobody."
  }
}

variable "routing_controls" {
  type        = bool
  description = "Hand switches for people (Route 53 application recovery), with a data plane of their own in five regions. Health decides without them as well."
}

variable "failure_threshold" {
  type        = number
  description = "Checks in a row, 10 s apart, before a region is out. With a TTL of 60 s of the alias this is most of the time that clients notice."
  default     = 2

  validation {
    condition     = var.failure_threshold >= 1 && var.failure_threshold <= 3
    error_message = "More than 3 checks of 10 s do not fit into a recovery of 30 s plus the resolvers' time."
  }
}

resource "aws_route53_zone" "public" {
  provider      = aws.primary
  name          = var.domain
  comment       = "${var.prefix}: the API"
  force_destroy = false

  lifecycle {
    prevent_destroy = true
  }
}

# From outside, over the same way as clients: the edge, its certificate, the gateway, its readiness (which includes the epoch).
resource "aws_route53_health_check" "edge" {
  for_each          = var.edges
  provider          = aws.primary
  type              = "HTTPS"
  fqdn              = each.value
  port              = 443
  enable_sni        = true
  resource_path     = "/health/ready"
  request_interval  = 10
  failure_threshold = var.failure_threshold
  measure_latency   = false

  tags = { Name = "${var.prefix}-${each.key}-edge" }
}

resource "aws_route53recoverycontrolconfig_cluster" "this" {
  count    = var.routing_controls ? 1 : 0
  provider = aws.primary
  name     = var.prefix
}

resource "aws_route53recoverycontrolconfig_control_panel" "this" {
  count       = var.routing_controls ? 1 : 0
  provider    = aws.primary
  name        = var.prefix
  cluster_arn = aws_route53recoverycontrolconfig_cluster.this[0].arn
}

resource "aws_route53recoverycontrolconfig_routing_control" "region" {
  for_each          = var.routing_controls ? var.edges : {}
  provider          = aws.primary
  name              = "${var.prefix}-${each.key}"
  cluster_arn       = aws_route53recoverycontrolconfig_cluster.this[0].arn
  control_panel_arn = aws_route53recoverycontrolconfig_control_panel.this[0].arn
}

# Nobody can switch off both.
resource "aws_route53recoverycontrolconfig_safety_rule" "one_on" {
  count             = var.routing_controls ? 1 : 0
  provider          = aws.primary
  name              = "${var.prefix}-one-on"
  control_panel_arn = aws_route53recoverycontrolconfig_control_panel.this[0].arn
  asserted_controls = [for control in aws_route53recoverycontrolconfig_routing_control.region : control.arn]
  wait_period_ms    = 5000

  rule_config {
    inverted  = false
    threshold = 1
    type      = "ATLEAST"
  }
}

resource "aws_route53_health_check" "control" {
  for_each            = aws_route53recoverycontrolconfig_routing_control.region
  provider            = aws.primary
  type                = "RECOVERY_CONTROL"
  routing_control_arn = each.value.arn

  tags = { Name = "${var.prefix}-${each.key}-control" }
}

# In service: healthy, and not switched off by hand. A hand can only take a region out; it cannot bring an unready one in.
resource "aws_route53_health_check" "region" {
  for_each               = var.edges
  provider               = aws.primary
  type                   = "CALCULATED"
  child_healthchecks     = concat([aws_route53_health_check.edge[each.key].id], var.routing_controls ? [aws_route53_health_check.control[each.key].id] : [])
  child_health_threshold = var.routing_controls ? 2 : 1

  tags = { Name = "${var.prefix}-${each.key}" }
}

# The targets are names by convention: the region's own stack puts its load balancer behind its edge name. No state of a region is read.
resource "aws_route53_record" "api" {
  for_each        = var.edges
  provider        = aws.primary
  zone_id         = aws_route53_zone.public.zone_id
  name            = var.api_host
  type            = "A"
  set_identifier  = each.key
  health_check_id = aws_route53_health_check.region[each.key].id

  weighted_routing_policy {
    weight = 100
  }

  alias {
    name                   = each.value
    zone_id                = aws_route53_zone.public.zone_id
    evaluate_target_health = true
  }
}

# A certificate in each serving region. Its renewal asks for the validation records only, which stay.
resource "aws_acm_certificate" "primary" {
  provider                  = aws.primary
  domain_name               = var.api_host
  subject_alternative_names = [var.edges.primary]
  validation_method         = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_acm_certificate" "secondary" {
  provider                  = aws.secondary
  domain_name               = var.api_host
  subject_alternative_names = [var.edges.secondary]
  validation_method         = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  # Both certificates prove the API's name by the same record: one account, one name.
  validation = merge(
    { for option in aws_acm_certificate.secondary.domain_validation_options : option.domain_name => option },
    { for option in aws_acm_certificate.primary.domain_validation_options : option.domain_name => option },
  )
}

resource "aws_route53_record" "validation" {
  for_each = local.validation
  provider = aws.primary
  zone_id  = aws_route53_zone.public.zone_id
  name     = each.value.resource_record_name
  type     = each.value.resource_record_type
  ttl      = 300
  records  = [each.value.resource_record_value]
}

resource "aws_acm_certificate_validation" "primary" {
  provider                = aws.primary
  certificate_arn         = aws_acm_certificate.primary.arn
  validation_record_fqdns = [for record in aws_route53_record.validation : record.fqdn]
}

resource "aws_acm_certificate_validation" "secondary" {
  provider                = aws.secondary
  certificate_arn         = aws_acm_certificate.secondary.arn
  validation_record_fqdns = [for record in aws_route53_record.validation : record.fqdn]
}

output "zone_id" {
  description = "Public zone."
  value       = aws_route53_zone.public.zone_id
}

output "certificates" {
  description = "Validated certificate of each serving region."
  value = {
    primary   = aws_acm_certificate_validation.primary.certificate_arn
    secondary = aws_acm_certificate_validation.secondary.certificate_arn
  }
}

output "routing_control_endpoints" {
  description = "Where people throw the switches: any one of five regions' endpoints is enough. Keep them outside the provider's console."
  value       = var.routing_controls ? aws_route53recoverycontrolconfig_cluster.this[0].cluster_endpoints : []
}
