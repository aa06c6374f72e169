find_package(pugixml REQUIRED)
target_link_libraries(heca_domain PRIVATE pugixml::pugixml fmt::fmt)
