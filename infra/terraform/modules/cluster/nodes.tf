resource "aws_iam_role" "node" {
  name = "${local.name}-node"

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = "Ec2", Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

# Only joining and pulling. What pods may do they get by identities of their own.
resource "aws_iam_role_policy_attachment" "node" {
  for_each   = toset(["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"])
  role       = aws_iam_role.node.name
  policy_arn = "arn:aws:iam::aws:policy/${each.key}"
}

resource "aws_eks_access_entry" "node" {
  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_iam_role.node.arn
  type          = "EC2_LINUX"
}

resource "aws_launch_template" "node" {
  name                    = "${local.name}-node"
  update_default_version  = true
  disable_api_termination = false # a managed node group replaces nodes; protection is for what holds data, and no node does

  # Pods get their identity from the agent; with one hop they cannot ask for the node's.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  # Bottlerocket: the system on the first, images and logs on the second.
  dynamic "block_device_mappings" {
    for_each = { "/dev/xvda" = 8, "/dev/xvdb" = 80 }
    content {
      device_name = block_device_mappings.key
      ebs {
        volume_size           = block_device_mappings.value
        volume_type           = "gp3"
        encrypted             = true
        kms_key_id            = var.keys.volumes
        delete_on_termination = true
      }
    }
  }

  monitoring {
    enabled = true
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${local.name}-node" }
  }
}

# One group a purpose and zone: a volume stays in its zone, so a zone's group must be able to grow by itself.
resource "aws_eks_node_group" "this" {
  for_each        = local.groups
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "${each.value.purpose}-${each.value.zone}"
  node_role_arn   = aws_iam_role.node.arn
  subnet_ids      = [var.node_subnets[each.value.zone]]
  version         = var.kubernetes_version
  ami_type        = "BOTTLEROCKET_x86_64"
  capacity_type   = "ON_DEMAND"
  instance_types  = each.value.instance_types

  launch_template {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }

  scaling_config {
    min_size     = var.idle ? 0 : each.value.min
    desired_size = var.idle ? 0 : each.value.min
    max_size     = each.value.max
  }

  update_config {
    max_unavailable = 1
  }

  labels = { "settlement/purpose" = each.value.purpose }

  dynamic "taint" {
    for_each = each.value.dedicated ? [each.value.purpose] : []
    content {
      key    = "settlement/purpose"
      value  = taint.value
      effect = "NO_SCHEDULE"
    }
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size] # the autoscaler's
  }

  depends_on = [aws_iam_role_policy_attachment.node, aws_eks_access_entry.node, aws_eks_addon.before_nodes]
}
