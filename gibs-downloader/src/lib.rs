//! Plan and download imagery from NASA GIBS
