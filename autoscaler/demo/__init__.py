"""The demonstration: worker stand-ins, a gateway and a load driver around the ordinary service."""
