"""Configuration files as data: releases, options, the inventory, and what is generated, checked and translated."""
