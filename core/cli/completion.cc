// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/completion.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <vector>

namespace heca::cli {
namespace {

/// The long flags of a command, those of its option groups too.
void Flags(const CLI::App& command, std::string& words) {
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      if (name != "help") words += " --" + name;  // every command has it: added once below
    }
  }
  for (const CLI::App* group :
       command.get_subcommands([](const CLI::App* sub) { return sub->get_name().empty(); })) {
    Flags(*group, words);
  }
}

std::vector<const CLI::App*> Named(const CLI::App& command) {
  std::vector<const CLI::App*> named;
  for (const CLI::App* sub : command.get_subcommands([](const CLI::App*) { return true; })) {
    if (!sub->get_name().empty()) named.push_back(sub);
  }
  return named;
}

}  // namespace

std::string BashCompletion(const CLI::App& app) {
  std::string commands;
  std::string cases;
  std::string common;
  Flags(app, common);
  for (const CLI::App* command : Named(app)) {
    commands += " " + command->get_name();
    std::string words;
    Flags(*command, words);
    for (const CLI::App* sub : Named(*command)) words += " " + sub->get_name();
    if (command->get_name() == "completion") words += " bash";
    if (!words.empty())
      cases += fmt::format("    {}) words=\"{}\" ;;\n", command->get_name(), words.substr(1));
  }
  return fmt::format(R"BASH(# bash completion of hecactl; printed by: hecactl completion bash
_hecactl() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" command="" words="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${{COMP_WORDS[i]}}" in
      --socket|--timeout) ((i++)) ;;
      -*) ;;
      *) command="${{COMP_WORDS[i]}}"; break ;;
    esac
  done
  case "$previous" in
    --socket|--qmp|--map) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --domain) COMPREPLY=($(compgen -W "$(virsh list --name 2>/dev/null)" -- "$current")); return ;;
    --mode) COMPREPLY=($(compgen -W "post-copy hybrid pre-copy" -- "$current")); return ;;
    --on-loss) COMPREPLY=($(compgen -W "wait poison" -- "$current")); return ;;
    --migration) COMPREPLY=($(compgen -W "post-copy hybrid pre-copy" -- "$current")); return ;;
    --transport) COMPREPLY=($(compgen -W "auto tcp rdma" -- "$current")); return ;;
    --lost) COMPREPLY=($(compgen -W "ask-again poison zero" -- "$current")); return ;;
    regions|limit|detach|resolve|steer)
      [[ $current == -* ]] || {{
        COMPREPLY=($(compgen -W "$(hecactl regions --timeout 2 2>/dev/null | awk 'NR > 1 {{print $1}}')" -- "$current"))
        return
      }} ;;
    migrate)
      [[ $current == -* ]] || {{
        COMPREPLY=($(compgen -W "$(virsh list --name 2>/dev/null)" -- "$current"))
        return
      }} ;;
  esac
  case "$command" in
    "") words="{}" ;;
{}  esac
  COMPREPLY=($(compgen -W "$words --help{}" -- "$current"))
  [[ $command != migrate || $current == -* ]] ||
    COMPREPLY=($(compgen -W "$(hecactl nodes --timeout 2 2>/dev/null | awk '!NF {{exit}} NR > 2 {{print $1}}')" -- "$current"))
  [[ $command != xml || $current == -* ]] || COMPREPLY+=($(compgen -f -- "$current"))
}}
complete -F _hecactl hecactl
)BASH",
                     commands.substr(1), cases, common);
}

}  // namespace heca::cli
