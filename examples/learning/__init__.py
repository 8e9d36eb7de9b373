"""Self-supervised learning from one photograph: three methods, probes and fine-tuning."""
