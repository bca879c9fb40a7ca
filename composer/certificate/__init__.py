"""The certificate: checks a spec against its paper, with independent reference implementations."""
