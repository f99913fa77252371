ERR value is not an integer or out of range

