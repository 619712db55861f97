"""attention: paged, causal, grouped queries, ALiBi, window, softcap; two forms of the same arithmetic."""
