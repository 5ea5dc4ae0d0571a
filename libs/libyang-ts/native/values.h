/*
 * A data node as values: its path, what it is, and what it holds.
 * It must not keep a node.
 */
#pragma once

#include "data.h"

namespace kedge_yang {

/* What a schema node is called in YANG: "leaf-list". */
const char *kind_name(uint16_t nodetype);

/* What a type is called in YANG: "uint64". */
const char *type_name(LY_DATA_TYPE type);

NodeValue value_of(const lyd_node *node);

std::string path_of(const lyd_node *node);

} // namespace kedge_yang
