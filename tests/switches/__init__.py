"""The product against every setting of what nobody knows of the service: a flood for each."""
