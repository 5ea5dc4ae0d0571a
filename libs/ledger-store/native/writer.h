/*
 * What writer.c gives to the addon: the calls of the threads that finish and write.
 * It must not say how they work.
 */
#ifndef KEDGE_LEDGER_WRITER_H
#define KEDGE_LEDGER_WRITER_H
#include <node_api.h>

napi_value writer_start(napi_env env, napi_callback_info info);
napi_value writer_finish(napi_env env, napi_callback_info info);
napi_value writer_write(napi_env env, napi_callback_info info);
napi_value writer_resume(napi_env env, napi_callback_info info);
napi_value writer_stop(napi_env env, napi_callback_info info);

#endif
