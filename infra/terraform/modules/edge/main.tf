# One region's public door: HTTPS on 443, and nothing else of this system has a public address.
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

variable "region_name" {
  type        = string
  description = "Name of the region."
}

variable "vpc_id" {
  type        = string
  description = "This region's VPC."
}

variable "subnets" {
  type        = list(string)
  description = "Public subnets, one a zone."

  validation {
    condition     = length(var.subnets) == 3
    error_message = "The edge stands in three zones."
  }
}

variable "node_security_group_id" {
  type        = string
  description = "Group of nodes and pods."
}

variable "certificate_arn" {
  type        = string
  description = "Validated certificate of this region, from the global stack."
}

variable "zone_id" {
  type        = string
  description = "Public zone, from the global stack."
}

variable "host" {
  type        = string
  description = "This region's own edge name; the API's name points here while the region is healthy."
}

variable "api_host" {
  type        = string
  description = "The name that clients ask for."
}

variable "logs_key_arn" {
  type        = string
  description = "Customer key of the firewall's log."
}

variable "log_retention_days" {
  type        = number
  description = "How long the firewall's log is kept."
}

variable "requests_per_ip" {
  type        = number
  description = "Requests in 5 minutes from one address before it is refused."

  validation {
    condition     = var.requests_per_ip >= 100
    error_message = "The firewall counts from 100 requests in 5 minutes."
  }
}

locals {
  ports = { api = 8080, ops = 9464 }
}

resource "aws_security_group" "edge" {
  name        = "${var.prefix}-edge"
  description = "HTTPS from anywhere"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  security_group_id = aws_security_group.edge.id
  description       = "HTTPS from anywhere"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "to_pods" {
  for_each                     = local.ports
  security_group_id            = aws_security_group.edge.id
  description                  = "Gateway pods, ${each.key}"
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_vpc_security_group_ingress_rule" "from_edge" {
  for_each                     = local.ports
  security_group_id            = var.node_security_group_id
  description                  = "Edge to gateway pods, ${each.key}"
  referenced_security_group_id = aws_security_group.edge.id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_lb" "edge" {
  name                       = "${var.prefix}-edge"
  internal                   = false
  load_balancer_type         = "application"
  subnets                    = var.subnets
  security_groups            = [aws_security_group.edge.id]
  enable_deletion_protection = true
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  idle_timeout               = 60
  # Access logs of this kind of balancer cannot be under a customer key; the firewall's log has the same requests, under ours.

  lifecycle {
    prevent_destroy = true
  }
}

# Ready pods only: readiness includes the epoch, so a region that must not write answers nobody here either.
resource "aws_lb_target_group" "gateway" {
  name                 = "${var.prefix}-gateway"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.ports.api
  deregistration_delay = 30

  health_check {
    protocol            = "HTTP"
    port                = local.ports.ops
    path                = "/health/ready"
    matcher             = "200"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_target_group" "readiness" {
  name                 = "${var.prefix}-ready"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.ports.ops
  deregistration_delay = 0

  health_check {
    protocol            = "HTTP"
    port                = "traffic-port"
    path                = "/health/ready"
    matcher             = "200"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.edge.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener_rule" "api" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 20

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.gateway.arn
  }

  condition {
    host_header {
      values = [var.api_host]
    }
  }
}

# For the health checks, which ask by the region's own name: readiness and nothing else of the operational port.
resource "aws_lb_listener_rule" "readiness" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 10

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.readiness.arn
  }

  condition {
    host_header {
      values = [var.host]
    }
  }

  condition {
    path_pattern {
      values = ["/health/ready"]
    }
  }
}

resource "aws_route53_record" "edge" {
  zone_id = var.zone_id
  name    = var.host
  type    = "A"

  alias {
    name                   = aws_lb.edge.dns_name
    zone_id                = aws_lb.edge.zone_id
    evaluate_target_health = true
  }
}

resource "aws_wafv2_web_acl" "edge" {
  name  = "${var.prefix}-edge"
  scope = "REGIONAL"

  default_action {
    allow {}
  }

  rule {
    name     = "rate"
    priority = 0

    action {
      block {
        custom_response {
          response_code = 429
        }
      }
    }

    statement {
      rate_based_statement {
        limit              = var.requests_per_ip
        aggregate_key_type = "IP"
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "rate"
      sampled_requests_enabled   = false
    }
  }

  dynamic "rule" {
    for_each = { AWSManagedRulesAmazonIpReputationList = 1, AWSManagedRulesKnownBadInputsRuleSet = 2 }
    content {
      name     = rule.key
      priority = rule.value

      override_action {
        none {}
      }

      statement {
        managed_rule_group_statement {
          vendor_name = "AWS"
          name        = rule.key
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = rule.key
        sampled_requests_enabled   = false
      }
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = "edge"
    sampled_requests_enabled   = false
  }
}

resource "aws_wafv2_web_acl_association" "edge" {
  resource_arn = aws_lb.edge.arn
  web_acl_arn  = aws_wafv2_web_acl.edge.arn
}

resource "aws_cloudwatch_log_group" "firewall" {
  name              = "aws-waf-logs-${var.prefix}-${var.region_name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_wafv2_web_acl_logging_configuration" "edge" {
  resource_arn            = aws_wafv2_web_acl.edge.arn
  log_destination_configs = [aws_cloudwatch_log_group.firewall.arn]

  dynamic "redacted_fields" {
    for_each = ["authorization", "x-payment", "payment-signature"]
    content {
      single_header {
        name = redacted_fields.value
      }
    }
  }
}

output "target_group_arns" {
  description = "Groups that the cluster binds to the gateway's Service: its API port and its operational port."
  value       = { api = aws_lb_target_group.gateway.arn, ops = aws_lb_target_group.readiness.arn }
}

output "load_balancer" {
  description = "Suffixes by which CloudWatch knows the balancer and the gateway's target group."
  value       = { load_balancer = aws_lb.edge.arn_suffix, target_group = aws_lb_target_group.gateway.arn_suffix }
}
