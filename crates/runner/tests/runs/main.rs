//! Runs of real programs, as root.
//!
//! The root file system holds a static busybox, and nothing of the host.
#![allow(clippy::unwrap_used, reason = "these are tests, though not marked as such")]

mod attacks;
mod bed;
mod confinement;
mod endings;
mod limits;
mod mounts;
mod shell;
mod view;

use libtest_mimic::{Arguments, Failed, Trial};

/// Names each function as a test of its module.
macro_rules! trials {
    ($($module:ident: $($function:ident)+;)+) => {
        vec![$($(Trial::test(concat!(stringify!($module), "::", stringify!($function)), || {
            $module::$function();
            Ok::<(), Failed>(())
        })),+),+]
    };
}

fn main() {
    lbuild_runner::supervise_if_asked();
    shell::share_streams_if_asked();
    let trials = trials! {
        endings:
            the_exit_status_is_the_programs
            a_signal_is_reported
            a_missing_program_is_not_found
            what_cannot_be_executed_is_explained
            a_missing_dynamic_loader_is_named
            path_is_searched_inside_the_root
            a_bad_working_directory_is_an_error
            arguments_and_environment_are_passed_on_as_bytes
            both_streams_come_in_order_and_as_they_are_written
            large_output_comes_whole
            the_last_output_is_not_lost
            what_runs_in_the_background_ends_with_the_program
            cancelling_ends_everything
            cancelling_lets_a_program_clean_up
            a_panic_in_the_callers_code_leaves_no_process
            a_hundred_runs_at_a_time_do_not_mix;
        view:
            every_namespace_but_the_network_is_its_own
            the_program_is_the_first_process_and_sees_only_its_own
            its_session_hostname_and_umask_are_its_own
            signals_are_as_a_program_expects_them
            only_three_files_are_open
            mounts_name_no_path_of_the_host
            dev_has_the_usual_devices
            pseudo_terminals_can_be_made
            proc_and_sys_are_masked_and_read_only
            an_insecure_run_sees_all_of_proc
            without_a_network_there_is_loopback_only
            hosts_and_resolv_conf_leave_no_trace
            nothing_is_left_in_the_root
            mount_points_are_the_places_that_must_exist;
        confinement:
            root_has_dockers_capabilities
            another_user_has_none_but_may_become_root_by_a_program
            a_user_can_reopen_its_output_and_owns_what_it_writes
            an_insecure_run_has_all_capabilities_and_no_filter
            system_calls_are_filtered
            namespaces_and_mounts_are_denied
            device_nodes_can_be_made_but_not_opened
            changing_null_does_not_change_the_hosts;
        limits:
            ulimits_apply
            shared_memory_has_the_size_asked_for
            control_groups_limit_a_run_and_are_removed;
        mounts:
            a_directory_is_mounted_for_writing_or_not
            a_file_is_mounted_on_a_file_only
            later_mounts_lie_in_earlier_ones
            a_secret_has_its_mode_and_owner_and_leaves_no_trace
            a_file_from_memory_is_executable_if_its_mode_says_so
            a_socket_is_mounted
            targets_are_resolved_inside_the_root
            parts_of_a_tree_are_mounted
            the_root_may_be_a_detached_mount
            nothing_is_mounted_on_the_host_through_a_shared_mount;
        shell:
            a_shell_has_the_callers_streams
            nothing_outlives_a_killed_builder;
        attacks:
            dev_proc_and_sys_as_links_are_refused
            what_the_image_has_in_dev_and_proc_has_no_effect
            etc_as_a_link_stays_inside
            nothing_is_mounted_over_files_of_the_kernel
            no_descriptor_leads_out_of_the_root
            the_builders_program_file_cannot_be_written
            a_target_that_changes_meanwhile_never_leads_out;
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
