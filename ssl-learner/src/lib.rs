//! Learn representations without labels: SimCLR and SimSiam
