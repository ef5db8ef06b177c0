"""Claims, modality use, strata and relevance: analyses of finished runs and of data."""
