# What each pod may do with the provider, by service account. A service that is not here has no identity at all.
locals {
  audit_bucket = lookup(local.region.buckets, "audit", "none")
  secret_arns  = "arn:aws:secretsmanager:${local.region.name}:${var.account_id}:secret:settlement/${var.environment}"

  signers = { for service in distinct(values(local.signing)) : service => {
    namespace       = "settlement"
    service_account = "settlement-${service}"
    statements = [{
      Sid      = "Sign"
      Action   = ["kms:Sign", "kms:GetPublicKey"]
      Resource = [for name, owner in local.signing : local.given["signing/${name}"] if owner == service]
    }]
  } }

  archives = { for name, identity in {
    postgres = {
      namespace       = "settlement"
      service_account = "settlement-postgres"
      statements      = concat(module.postgres.identity, [{ Sid = "BackupsKey", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [local.keys.backups] }])
    }
    # Exports are written and never read back or removed by who writes them.
    compliance-screening = {
      namespace       = "settlement"
      service_account = "settlement-compliance-screening"
      statements = [
        { Sid = "WriteAuditExports", Action = ["s3:PutObject"], Resource = ["arn:aws:s3:::${local.audit_bucket}/*"] },
        { Sid = "AuditKey", Action = ["kms:GenerateDataKey"], Resource = [local.keys.audit] },
      ]
    }
  } : name => identity if local.serving }

  everywhere = {
    # Binds pods to the target groups that Terraform made; it makes and removes no balancers.
    target-groups = {
      namespace       = "kube-system"
      service_account = "aws-load-balancer-controller"
      statements = [
        {
          Sid      = "RegisterPods"
          Action   = ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"]
          Resource = ["arn:aws:elasticloadbalancing:${local.region.name}:${var.account_id}:targetgroup/${local.prefix}-*/*"]
        },
        {
          Sid      = "DescribeTargets" # describing knows no resources
          Action   = ["elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth", "ec2:DescribeInstances", "ec2:DescribeVpcs", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups", "ec2:DescribeNetworkInterfaces", "ec2:DescribeAvailabilityZones"]
          Resource = ["*"]
        },
      ]
    }
    secrets = {
      namespace       = "external-secrets"
      service_account = "external-secrets"
      statements = [
        { Sid = "ReadSecrets", Action = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], Resource = ["${local.secret_arns}/*"] },
        { Sid = "SecretsKey", Action = ["kms:Decrypt"], Resource = [local.keys.secrets] },
      ]
    }
    metrics = {
      namespace       = "monitoring"
      service_account = "prometheus"
      statements      = module.observability.identities.metrics
    }
    logs = {
      namespace       = "monitoring"
      service_account = "log-collector"
      statements      = module.observability.identities.logs
    }
  }

  identities = merge(local.signers, local.archives, local.everywhere)
}
