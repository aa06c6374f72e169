// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>

#include "base/nearest.h"
#include "daemon/config_load.h"
#include "daemon/config_options.h"

namespace heca::daemon {
namespace {

constexpr std::string_view kPeerKeys[] = {"name", "address", "failure-domain"};

/// The text that Option::set takes, or nullopt if the value is of another kind than the option's.
std::optional<std::string> ValueText(const toml::node& node, ValueKind kind) {
  if (kind == ValueKind::kText || kind == ValueKind::kSize) {
    if (const auto* text = node.as_string()) return text->get();
  }
  if (kind == ValueKind::kNumber || kind == ValueKind::kSize) {
    if (const auto* number = node.as_integer()) return fmt::format("{}", number->get());
  }
  if (kind == ValueKind::kSwitch) {
    if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  }
  return std::nullopt;
}

std::string_view KindOf(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a number with a fraction";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    default:
      return "a date or time";
  }
}

/// One pass over one document; collects messages with their lines so that they come out in order.
class Reader {
 public:
  Reader(std::string_view file, Config& config, Origins& origins)
      : file_(file), config_(config), origins_(origins) {}

  void Read(const toml::table& table) {
    for (const auto& [key, node] : table) {
      const std::string_view name = key.str();
      if (name == "peer") {
        Peers(key, node);
      } else if (const Option* option = FindOption(name)) {
        Set(*option, key, node);
      } else {
        Unknown(key, name, Keys());
      }
    }
  }

  void Report(Problems& problems) {
    std::stable_sort(found_.begin(), found_.end(),
                     [](const Found& a, const Found& b) { return a.line < b.line; });
    for (const Found& f : found_) problems.Add(Where(f.line), f.key, f.text);
  }

 private:
  struct Found {
    std::uint32_t line;
    std::string key;
    std::string text;
  };

  static std::vector<std::string_view> Keys() {
    std::vector<std::string_view> keys{"peer"};
    for (const Option& option : Options()) keys.push_back(option.key);
    return keys;
  }

  [[nodiscard]] std::string Where(std::uint32_t line) const { return fmt::format("{}:{}", file_, line); }

  void Problem(std::uint32_t line, std::string_view key, std::string text) {
    found_.push_back({line, std::string(key), std::move(text)});
  }

  void Unknown(const toml::key& key, std::string_view name, const std::vector<std::string_view>& known) {
    const std::string_view nearest = Nearest(key.str(), known);
    Problem(key.source().begin.line, name,
            nearest.empty() ? "unknown key; `hecad --print-config` lists all keys"
                            : fmt::format("unknown key; did you mean '{}'?", nearest));
  }

  void Set(const Option& option, const toml::key& key, const toml::node& node) {
    const std::uint32_t line = key.source().begin.line;
    const std::optional<std::string> text = ValueText(node, option.kind);
    if (!text) {
      Problem(line, option.key,
              fmt::format("{} is wanted here, not {}", Describe(option.kind), KindOf(node)));
      return;
    }
    if (const Status set = option.set(config_, *text); !set.ok())
      Problem(line, option.key, std::string(set.message()));
    origins_[std::string(option.key)] = Where(line);
  }

  void Peers(const toml::key& key, const toml::node& node) {
    origins_["peer"] = Where(key.source().begin.line);
    const toml::array* list = node.as_array();
    if (list == nullptr || !list->is_homogeneous(toml::node_type::table)) {
      Problem(key.source().begin.line, "peer",
              "write one [[peer]] block for each peer, with name and address");
      return;
    }
    for (const toml::node& entry : *list) OnePeer(*entry.as_table());
  }

  void OnePeer(const toml::table& table) {
    Peer peer;
    const std::uint32_t line = table.source().begin.line;
    const std::size_t before = found_.size();
    for (const auto& [key, node] : table) {
      const std::string name = fmt::format("peer.{}", key.str());
      const auto* text = node.as_string();
      if (std::find(std::begin(kPeerKeys), std::end(kPeerKeys), key.str()) == std::end(kPeerKeys)) {
        Unknown(key, name, {std::begin(kPeerKeys), std::end(kPeerKeys)});
      } else if (text == nullptr) {
        Problem(key.source().begin.line, name,
                fmt::format("{} is wanted here, not {}", Describe(ValueKind::kText), KindOf(node)));
      } else {
        Status status;
        if (key.str() == "name") status = CheckName(peer.name = text->get());
        if (key.str() == "address") status = CheckAddress(peer.address = text->get());
        if (key.str() == "failure-domain") peer.failure_domain = text->get();
        if (!status.ok()) Problem(key.source().begin.line, name, std::string(status.message()));
      }
    }
    for (const std::string_view needed : {"name", "address"}) {
      if (!table.contains(needed)) Problem(line, "peer", fmt::format("a peer needs `{}`", needed));
    }
    if (found_.size() == before) config_.peers.push_back(std::move(peer));
  }

  std::string_view file_;
  Config& config_;
  Origins& origins_;
  std::vector<Found> found_;
};

}  // namespace

void ApplyToml(std::string_view text, std::string_view file, Config& config, Origins& origins,
               Problems& problems) {
  try {
    const toml::table table = toml::parse(text, file);
    Reader reader(file, config, origins);
    reader.Read(table);
    reader.Report(problems);
  } catch (const toml::parse_error& error) {
    problems.Add(fmt::format("{}:{}", file, error.source().begin.line), "", error.description());
  }
}

}  // namespace heca::daemon
