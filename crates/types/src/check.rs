//! Nacos's parameter check (`ParamCheckRule`, `DefaultParamChecker`): lengths and characters, with its messages.
