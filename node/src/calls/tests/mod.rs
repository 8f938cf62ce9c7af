//! Several nodes and an emulated switch in one process, under paused time.

mod commands;
mod failover;
mod fencing;
mod flows;
mod leases;
mod world;
