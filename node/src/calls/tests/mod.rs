//! Several nodes and an emulated switch in one process, under paused time.

mod commands;
mod failover;
mod fencing;
mod flows;
mod gate;
mod leases;
mod world;
