//! What the web pages share: server life cycle, access token, share link, assets, errors as JSON
