"""What runs on hosts. Files name each other relatively, so that kilonova.onhost is the same code where Ansible runs."""
