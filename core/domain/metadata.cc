// SPDX-License-Identifier: LGPL-2.1-or-later
#include "domain/metadata.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "domain/metadata_element.h"

namespace heca::domain {
namespace {

/// The units of libvirt: those with a B behind K, M... are decimal, unlike those of hecactl.
constexpr std::pair<std::string_view, std::uint64_t> kUnits[] = {
    {"", 1ULL << 10},          {"b", 1},           {"bytes", 1},          {"KB", 1000},
    {"k", 1ULL << 10},         {"K", 1ULL << 10},  {"KiB", 1ULL << 10},   {"MB", 1000'000},
    {"M", 1ULL << 20},         {"MiB", 1ULL << 20}, {"GB", 1000'000'000}, {"G", 1ULL << 30},
    {"GiB", 1ULL << 30},       {"TB", 1000'000'000'000}, {"T", 1ULL << 40}, {"TiB", 1ULL << 40}};

Status Bad(std::string text) { return {ErrorCode::kInvalidArgument, std::move(text)}; }

Result<Bytes> SizeOf(pugi::xml_node memory) {
  const std::string text = Text(memory);
  const std::string_view unit = Attribute(memory, "unit");
  const auto known =
      std::find_if(std::begin(kUnits), std::end(kUnits), [&](const auto& entry) { return entry.first == unit; });
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = !text.empty() && error == std::errc() && end == text.data() + text.size();
  if (known == std::end(kUnits) || !whole || number == 0 ||
      number > std::numeric_limits<std::uint64_t>::max() / known->second) {
    return Bad(fmt::format("<memory unit='{}'>{}</memory> is no size", unit, text));
  }
  return Bytes(number * known->second);
}

bool IsUuid(std::string_view text) {
  const auto digits = std::count_if(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  });
  const auto dashes = std::count(text.begin(), text.end(), '-');
  return digits == 32 && digits + dashes == std::ssize(text) && dashes <= 4;
}

Result<MemoryWish> ReadWish(pugi::xml_node element) {
  MemoryWish wish;
  for (const pugi::xml_attribute attribute : element.attributes()) {
    const std::string_view name = attribute.name();
    if (name == "xmlns" || name.starts_with("xmlns:")) continue;
    HECA_RETURN_IF_ERROR(SetWish(wish, name, attribute.value()));
  }
  HECA_RETURN_IF_ERROR(CheckWish(wish));
  return wish;
}

/// The parts of a wish as attributes, in the order in which they are written.
std::vector<std::pair<const char*, std::string>> Words(const MemoryWish& wish) {
  return {{"ratio", wish.ratio ? fmt::format("{}:{}", wish.ratio->local, wish.ratio->remote) : ""},
          {"local", wish.local ? FormatSizeExact(*wish.local) : ""},
          {"replicas", wish.replicas ? fmt::format("{}", *wish.replicas) : ""},
          {"migration", wish.migration ? std::string(ToString(*wish.migration)) : ""},
          {"transport", wish.transport ? std::string(ToString(*wish.transport)) : ""}};
}

}  // namespace

bool MentionsHeca(std::string_view xml) { return xml.find(kHecaNamespace) != std::string_view::npos; }

Result<pugi::xml_node> FindMemoryElement(pugi::xml_node domain) {
  HECA_ASSIGN_OR_RETURN(const pugi::xml_node metadata, OnlyChild(domain, "metadata"));
  return OnlyChild(metadata, "memory", kHecaNamespace);
}

Result<HecaMemory> ReadDomain(pugi::xml_node domain, pugi::xml_node element) {
  HecaMemory memory;
  HECA_ASSIGN_OR_RETURN(const pugi::xml_node name, OnlyChild(domain, "name"));
  memory.domain = Text(name);
  if (memory.domain.empty()) return Bad("the domain has no <name>");
  if (memory.domain.find_first_of("/\n") != std::string::npos) {
    return Bad(fmt::format("the domain's name '{}' has a '/' or a line break in it: libvirt takes no such name",
                           memory.domain));
  }
  const std::string who = fmt::format("domain '{}'", memory.domain);
  HECA_ASSIGN_OR_RETURN(const pugi::xml_node uuid, OnlyChild(domain, "uuid"));
  memory.uuid = Text(uuid);
  if (uuid && !IsUuid(memory.uuid)) return Bad(fmt::format("{}: <uuid>{}</uuid> is no UUID", who, memory.uuid));
  HECA_ASSIGN_OR_RETURN(const pugi::xml_node size, OnlyChild(domain, "memory"));
  if (!size) return Bad(fmt::format("{} has no <memory>", who));
  auto bytes = SizeOf(size);
  if (!bytes.ok()) return bytes.status().WithContext(who);
  memory.size = *bytes;
  if (!element) return memory;
  auto wish = ReadWish(element);
  if (!wish.ok()) return wish.status().WithContext(fmt::format("{}: <{}> in its metadata", who, element.name()));
  memory.wish = *wish;
  return memory;
}

Result<HecaMemory> ReadMetadata(std::string_view xml) {
  HECA_ASSIGN_OR_RETURN(const Document document, Document::Parse(xml));
  HECA_ASSIGN_OR_RETURN(const pugi::xml_node element, FindMemoryElement(document.domain()));
  HECA_ASSIGN_OR_RETURN(HecaMemory memory, ReadDomain(document.domain(), element));
  if (element) return memory;
  return Status(ErrorCode::kNotFound,
                fmt::format("domain '{}' has no <heca:memory> in its <metadata>; hecactl xml writes it",
                            memory.domain));
}

void WriteWish(pugi::xml_node domain, pugi::xml_node element, const MemoryWish& wish, std::vector<Change>& changes) {
  if (!element) {
    pugi::xml_node metadata = Child(domain, "metadata");
    if (!metadata) {
      metadata = InsertElement(domain, "metadata", {"name", "uuid", "genid", "title", "description"});
    }
    element = AppendElement(metadata, "heca:memory");
    SetAttribute(element, "xmlns:heca", std::string(kHecaNamespace));
    std::string said;
    for (const auto& [name, value] : Words(wish)) {
      if (value.empty()) continue;
      SetAttribute(element, name, value);
      said += fmt::format(" {}='{}'", name, value);
    }
    changes.push_back({"metadata", fmt::format("<heca:memory{}/> is added", said)});
    return;
  }
  const auto older = ReadWish(element);  // was read before, so it is good
  const auto before = Words(older.ok() ? *older : MemoryWish{});
  const auto after = Words(wish);
  for (std::size_t i = 0; i < after.size(); ++i) {
    const auto& [name, value] = after[i];
    if (value == before[i].second) continue;
    if (value.empty()) {
      element.remove_attribute(name);
      changes.push_back({"metadata", fmt::format("{}='{}' is removed", name, before[i].second)});
    } else {
      SetAttribute(element, name, value);
      changes.push_back({"metadata", before[i].second.empty()
                                         ? fmt::format("{}='{}' is added", name, value)
                                         : fmt::format("{}='{}' becomes '{}'", name, before[i].second, value)});
    }
  }
}

}  // namespace heca::domain
