/*
 * What writer.c gives to the addon: the thread that writes frames, as functions of Node-API.
 *
 * It must not know how a frame is made.
 */
#ifndef KEDGE_LEDGER_WRITER_H
#define KEDGE_LEDGER_WRITER_H
#include <node_api.h>

napi_value writer_start(napi_env env, napi_callback_info info);
napi_value writer_write(napi_env env, napi_callback_info info);
napi_value writer_resume(napi_env env, napi_callback_info info);
napi_value writer_stop(napi_env env, napi_callback_info info);

#endif
