//! Embed, index, search and serve imagery
