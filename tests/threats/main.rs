//! The threats, row by row: each attack is carried out on the real lbuild, fails with a clear error or
//! has no effect, touches nothing outside and leaves the store valid.
//!
//! The rows are past advisories of builders, runtimes, registry clients and tar libraries, and what is of
//! their kind. The last lines are a report, one line a row; `cargo xtask threats` shows only that.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests, though not marked as such")]

mod race;
mod raw_tar;
mod row;
mod scene;

mod archives;
mod binds;
mod bombs;
mod cache_keys;
mod cache_mounts;
mod chroot;
mod contexts;
mod docker_sockets;
mod frontends;
mod git;
mod growth;
mod hidden_entries;
mod host;
mod kernel_files;
mod labels;
mod manifests;
mod mount_races;
mod mount_stubs;
mod program_file;
mod reach;
mod registries;
mod secrets;
mod shared_folders;
mod strange_texts;
mod strange_trees;
mod system_calls;
mod users;
mod web;
mod whiteouts;
mod working_directories;

use libtest_mimic::Arguments;

use row::{Outcomes, Row};

/// Each row: its name, the advisories, whether it applies without root, and its attacks.
macro_rules! rows {
    ($($name:literal, $advisories:literal, $rootless:expr => $($module:ident: $($attack:ident)+),+;)+) => {
        vec![$(Row {
            name: $name,
            advisories: $advisories,
            rootless: $rootless,
            attacks: vec![$($((stringify!($attack), $module::$attack as row::Attack)),+),+],
        }),+]
    };
}

fn main() {
    let rows = rows();
    let outcomes = Outcomes::default();
    let trials = rows.iter().flat_map(|row| row.trials(&outcomes)).collect();
    let mut arguments = Arguments::from_args();
    // Most of an attack is waiting for other programs.
    arguments.test_threads = arguments.test_threads.or(Some(6));
    let conclusion = libtest_mimic::run(&arguments, trials);
    for row in &rows {
        println!("{}", row.line(&outcomes));
    }
    conclusion.exit();
}

fn rows() -> Vec<Row> {
    use row::Rootless::{Applies, No};
    rows! {
        "a working directory through a leaked descriptor", "CVE-2024-21626", Applies =>
            working_directories: through_a_descriptor through_a_link_to_a_descriptor no_descriptor_is_open
                a_descriptor_that_lbuild_inherited;
        "a mount's source swapped after the check", "CVE-2024-23651, CVE-2024-11218", Applies =>
            mount_races: a_copied_folder_is_swapped a_copied_file_is_swapped a_bound_source_is_swapped
                a_source_in_a_shared_cache_is_swapped an_output_folder_is_swapped;
        "the cleaner of mount points", "CVE-2024-23652", Applies =>
            mount_stubs: the_parent_becomes_a_link the_usual_places_become_links nothing_is_left_of_a_mount_point;
        "a frontend that the Dockerfile names", "CVE-2024-23653, CVE-2026-33747", Applies =>
            frontends: the_named_image_is_never_fetched the_named_image_is_never_run;
        "what counts for the cache", "CVE-2024-24557", Applies =>
            cache_keys: every_instruction_counts the_configuration_of_the_base_counts
                an_image_from_outside_is_never_the_cache;
        "a context or its subdirectory that leads outside", "CVE-2026-33748, CVE-2026-44517", Applies =>
            git: a_subdirectory_that_leads_out links_in_a_repository,
            contexts: the_dockerfile_of_an_archive a_dockerfile_that_is_no_file ignore_files_that_are_no_files
                copied_links copied_links_from_elsewhere destinations_that_are_links strange_files a_deep_tree;
        "options and submodules of git", "CVE-2019-13139, CVE-2022-39253, CVE-2025-48384", Applies =>
            git: references_that_are_options urls_that_are_options_or_commands submodules_that_lead_out
                hooks_and_settings_in_a_repository;
        "a bind mount whose source or target is a link", "CVE-2024-1753", Applies =>
            binds: a_source_that_is_a_link a_target_that_is_a_link a_secret_or_agent_behind_a_link;
        "options of mounts that are not known", "CVE-2024-9407", Applies =>
            binds: unknown_options_and_values;
        "a cache's id that is a path", "CVE-2024-9675", Applies =>
            cache_mounts: an_id_that_is_a_path a_namespace_that_is_a_path links_in_a_cache
                the_first_content_of_a_cache;
        "an image's passwd and group files", "CVE-2024-9676, CVE-2026-47262", Applies =>
            users: a_user_file_that_is_a_link a_user_file_that_is_no_file a_user_file_that_is_huge
                a_user_file_with_strange_lines;
        "users that are numbers", "CVE-2024-40635, CVE-2026-46680", Applies =>
            users: numbers_beyond_every_id the_user_of_the_base_image;
        "the kernel's files as links of the image",
            "CVE-2025-31133, CVE-2025-52565, CVE-2025-52881, CVE-2026-41579", Applies =>
            kernel_files: directories_of_the_kernel_are_links files_of_the_kernel_are_links
                a_step_replaces_them;
        "the builder's own program file", "CVE-2019-5736", Applies =>
            program_file: it_cannot_be_written;
        "a mount's target swapped after the check", "CVE-2021-30465, CVE-2026-42306", Applies =>
            mount_races: a_target_in_a_shared_cache_is_swapped;
        "WORKDIR through a symbolic link", "CVE-2026-55686", Applies =>
            working_directories: through_a_link_that_leads_out of_the_base_image of_the_context;
        "a symbolic link, then a directory of its name", "CVE-2026-33056, RUSTSEC-2026-0113", Applies =>
            archives: a_link_then_a_directory_of_its_name;
        "sizes of an archive that disagree", "CVE-2025-62518, RUSTSEC-2026-0112", Applies =>
            hidden_entries: sizes_that_disagree sizes_of_what_has_no_content sizes_in_other_forms
                headers_that_apply_to_something_else;
        "entries of an archive that lead outside",
            "CVE-2026-17106, CVE-2026-50163, CVE-2026-42574, CVE-2021-29136", Applies =>
            archives: entries_below_links hard_links_to_outside the_root_entry_is_a_link names_that_lead_out
                one_name_twice;
        "whiteouts", "", Applies =>
            whiteouts: deletions_that_mean_nothing_are_refused deletions_below_a_link_are_refused
                overlayfs_own_marks_are_refused a_step_makes_no_deletion;
        "a document that is manifest and index at once", "CVE-2021-41190", Applies =>
            manifests: a_document_that_is_two_things a_key_that_stands_twice descriptors_that_lie
                documents_that_cost_too_much an_index_without_an_end a_layout_of_links;
        "bombs", "CVE-2025-58183", Applies =>
            bombs: entries bytes compressed_data sparse_files attributes_and_headers layers values_of_the_option;
        "a registry that wants credentials, or lies", "CVE-2020-15157, CVE-2024-3727, CVE-2026-12566", Applies =>
            registries: an_honest_registry_is_believed redirects_to_another_host foreign_urls realms_of_tokens
                digests_that_lie answers_that_cost_too_much;
        "a Docker that lies", "", Applies =>
            docker_sockets: answers_without_an_end archives_that_lie lists_of_images;
        "ways out of a chroot", "", No("only root, and whoever is root of a container, can chroot") =>
            chroot: a_cache_that_becomes_a_link a_cache_that_is_a_link steps_that_meet;
        "credentials in what a build tells and keeps", "CVE-2025-0495", Applies =>
            secrets: a_secret_is_nowhere_but_in_its_step a_failure_does_not_tell_it a_step_that_writes_it_down
                proxies_with_a_password urls_with_a_password;
        "AF_ALG", "CVE-2026-31431", Applies =>
            system_calls: sockets_of_the_kernels_ciphers;
        "inheritable capabilities", "CVE-2022-27651", Applies =>
            system_calls: inheritable_capabilities;
        "labels that configure the host", "CVE-2026-53488", Applies =>
            labels: labels_configure_nothing;
        "a cache that a stranger wrote", "", Applies =>
            cache_keys: an_image_from_outside_is_never_the_cache a_layer_from_outside_replaces_none
                a_poisoned_record_of_a_shared_cache,
            shared_folders: files_that_are_no_files folders_that_are_links a_sweep_that_is_led_away;
        "system calls and rights beyond Docker's", "", Applies =>
            system_calls: calls_that_docker_forbids rights_that_the_dockerfile_asks_for;
        "the machine's processes, settings and devices", "", Applies =>
            host: other_processes settings_of_the_kernel control_groups devices the_environment,
            reach: processes_by_their_numbers;
        "the machine's sockets and agents", "", Applies =>
            reach: abstract_sockets_without_a_network an_agent_of_another_step;
        "output without an end", "", Applies =>
            host: output_without_an_end;
        "memory and processes without an end", "",
            No("an ordinary user has no control groups to limit a step with, unless systemd delegates them") =>
            host: limits_of_a_step;
        "output that drives the terminal", "", Applies =>
            host: output_that_drives_the_terminal,
            strange_texts: control_characters_in_a_dockerfile documents_that_drive_the_terminal;
        "a base image's configuration that is absurd", "", Applies =>
            strange_texts: configurations_that_are_absurd;
        "small texts that mean much work", "", Applies =>
            growth: names_without_number ports_without_number patterns_that_match_in_every_way texts_without_number;
        "addresses that lead to this machine's files", "", Applies =>
            strange_texts: redirects_to_other_schemes;
        "trees that a step leaves to stumble over", "", Applies =>
            strange_trees: marks_of_overlayfs trees_that_are_hard_to_clean;
        "processes that a step leaves behind, or kills", "", Applies =>
            strange_trees: a_process_that_goes_on a_step_that_kills_everything;
    }
}
