"""What every verb needs around its work: errors, configs, work directories."""
