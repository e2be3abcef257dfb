# One region's eyes: its own metrics store, topic, alarms and logs. A region that is gone takes its own with it and nobody else's.
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

variable "account_id" {
  type        = string
  description = "Account of the region."
}

variable "region_name" {
  type        = string
  description = "Name of the region."
}

variable "logs_key_arn" {
  type        = string
  description = "Customer key of logs, metrics and alarms."
}

variable "log_retention_days" {
  type        = number
  description = "How long the services' logs are kept."

  validation {
    condition     = contains([7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days is one of the periods that the provider has, at least 7."
  }
}

variable "alarm_emails" {
  type        = set(string)
  description = "Who is told when the cluster itself cannot tell."
}

variable "edge" {
  description = "The edge's names in CloudWatch; null where there is none."
  type = object({
    load_balancer = string
    target_group  = string
  })
  default = null
}

variable "replications" {
  type        = map(object({ source = string, destination = string, rule = string }))
  description = "Bucket replications that start in this region."
  default     = {}
}

resource "aws_prometheus_workspace" "this" {
  alias       = "${var.prefix}-${var.region_name}"
  kms_key_arn = var.logs_key_arn

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_cloudwatch_log_group" "services" {
  name              = "/${var.prefix}/${var.region_name}/services"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.prefix}-alarms"
  kms_master_key_id = var.logs_key_arn
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AlarmsOfThisAccount"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["sns:Publish"]
        Resource  = "arn:aws:sns:${var.region_name}:${var.account_id}:${var.prefix}-alarms"
        Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "email" {
  for_each  = var.alarm_emails
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.key
}

resource "aws_cloudwatch_metric_alarm" "edge" {
  for_each = var.edge == null ? {} : {
    no-ready-gateway = { metric = "HealthyHostCount", statistic = "Minimum", comparison = "LessThanThreshold", threshold = 1, missing = "breaching" }
    server-errors    = { metric = "HTTPCode_Target_5XX_Count", statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 10, missing = "notBreaching" }
  }

  alarm_name          = "${var.prefix}-${each.key}"
  alarm_description   = "See the runbooks. A region without the epoch has no ready gateway either: then it is the other region's alarm that counts."
  namespace           = "AWS/ApplicationELB"
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = 2
  treat_missing_data  = each.value.missing
  dimensions          = { LoadBalancer = var.edge.load_balancer, TargetGroup = var.edge.target_group }
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# Replication time control promises 15 minutes; more means that a lost region would take backups with it.
resource "aws_cloudwatch_metric_alarm" "replication" {
  for_each = var.replications

  alarm_name          = "${var.prefix}-${each.key}-replication"
  alarm_description   = "Objects wait longer than 15 minutes for their copy in the other region."
  namespace           = "AWS/S3"
  metric_name         = "ReplicationLatency"
  statistic           = "Maximum"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 900
  period              = 300
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching"
  dimensions          = { SourceBucket = each.value.source, DestinationBucket = each.value.destination, RuleId = each.value.rule }
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

output "remote_write_url" {
  description = "Where this region's Prometheus writes."
  value       = "${aws_prometheus_workspace.this.prometheus_endpoint}api/v1/remote_write"
}

output "log_group" {
  description = "Log group of the services."
  value       = aws_cloudwatch_log_group.services.name
}

output "identities" {
  description = "What the pods that write metrics and logs may do."
  value = {
    metrics = [{ Sid = "WriteMetrics", Action = ["aps:RemoteWrite"], Resource = [aws_prometheus_workspace.this.arn] }]
    logs    = [{ Sid = "WriteLogs", Action = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"], Resource = ["arn:aws:logs:${var.region_name}:${var.account_id}:log-group:/${var.prefix}/${var.region_name}/services:*"] }]
  }
}
