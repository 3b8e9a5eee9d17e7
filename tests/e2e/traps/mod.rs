//! What goes wrong silently when a step's changes are read from an overlay's upper directory.

mod changes;
mod links_and_modes;
mod mount_points;
mod overlay;
mod special_files;
mod times;
