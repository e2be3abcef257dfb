# Answers of a cloud that is not there. Only what the provider's own validators look at, or what tests follow, has a shape; all else is random.
# ARNs are one for each type, so that a test cannot mistake a mocked identity for a proof that two things belong together.

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:eu-central-1:111122223333:key/mrk-00000000000000000000000000000001" }
}

mock_resource "aws_kms_replica_key" {
  defaults = { arn = "arn:aws:kms:eu-west-1:111122223333:key/mrk-00000000000000000000000000000001" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::111122223333:role/mock" }
}

mock_resource "aws_s3_bucket" {
  defaults = { arn = "arn:aws:s3:::mock" }
}

mock_resource "aws_acm_certificate" {
  defaults = {
    arn                       = "arn:aws:acm:eu-central-1:111122223333:certificate/00000000-0000-0000-0000-000000000001"
    domain_validation_options = []
  }
}

mock_resource "aws_acm_certificate_validation" {
  defaults = { certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/00000000-0000-0000-0000-000000000001" }
}

mock_resource "aws_route53_health_check" {
  defaults = { id = "00000000-0000-0000-0000-000000000002" }
}

mock_resource "aws_route53_zone" {
  defaults = { zone_id = "Z0000000000000000001" }
}

mock_resource "aws_route53recoverycontrolconfig_cluster" {
  defaults = { arn = "arn:aws:route53-recovery-control::111122223333:cluster/00000000-0000-0000-0000-000000000003", cluster_endpoints = [] }
}

mock_resource "aws_route53recoverycontrolconfig_control_panel" {
  defaults = { arn = "arn:aws:route53-recovery-control::111122223333:controlpanel/00000000000000000000000000000003" }
}

mock_resource "aws_route53recoverycontrolconfig_routing_control" {
  defaults = { arn = "arn:aws:route53-recovery-control::111122223333:controlpanel/00000000000000000000000000000003/routingcontrol/0000000000000003" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-central-1:111122223333:log-group:mock" }
}

mock_resource "aws_lb" {
  defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/net/mock/0000000000000004", arn_suffix = "mock/0000000000000004", dns_name = "mock.elb.example", zone_id = "Z0000000000000000004" }
}

mock_resource "aws_lb_target_group" {
  defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/mock/0000000000000005", arn_suffix = "targetgroup/mock/0000000000000005" }
}

mock_resource "aws_lb_listener" {
  defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:listener/app/mock/0000000000000004/0000000000000006" }
}

mock_resource "aws_wafv2_web_acl" {
  defaults = { arn = "arn:aws:wafv2:eu-central-1:111122223333:regional/webacl/mock/00000000-0000-0000-0000-000000000007" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws:sns:eu-central-1:111122223333:mock" }
}

mock_resource "aws_prometheus_workspace" {
  defaults = { arn = "arn:aws:aps:eu-central-1:111122223333:workspace/ws-00000000-0000-0000-0000-000000000008", prometheus_endpoint = "https://metrics.example/workspaces/ws-8/" }
}

mock_resource "aws_launch_template" {
  defaults = { id = "lt-00000000000000009", latest_version = 1 }
}

mock_resource "aws_eks_cluster" {
  defaults = { arn = "arn:aws:eks:eu-central-1:111122223333:cluster/mock", endpoint = "https://kubernetes.example" }
}

mock_data "aws_ssm_parameter" {
  defaults = { insecure_value = "arn:aws:kms:eu-central-1:111122223333:key/mrk-0000000000000000000000000000000a" }
}
