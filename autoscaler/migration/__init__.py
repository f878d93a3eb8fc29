"""Rule files from what other autoscalers are configured with: `manifests` reads, `hpa` and `keda` translate, `draft`
writes. Whatever does not mean the same here is a note; nothing is dropped in silence.
"""
