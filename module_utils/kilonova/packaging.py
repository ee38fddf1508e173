"""Where Debian's tools look while packages are installed, for modules that hold services back and compile Python themselves."""

# Asked before a service is started (invoke-rc.d(8)).
POLICY = "/usr/sbin/policy-rc.d"
# What py3compile(1) passes over is in files here: kind, versions of Python, directory.
EXCLUSIONS = "/usr/share/python3/bcep/kilonova"
PYTHON_MODULES = "/usr/lib/python3/dist-packages"
EXCLUDED = f"dir|3.0-|{PYTHON_MODULES}"
