//! The labelling session: events in SQLite, queue, leases, undo, routes and the page
