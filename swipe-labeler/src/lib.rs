//! Label imagery by swiping
