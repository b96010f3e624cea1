package example;

import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/** Runs the statements of a SQL file, as Flink's SQL client does. ${name} in it is replaced by the argument name=value. */
public final class RunSql {
    public static void main(String[] arguments) throws Exception {
        String sql = Files.readString(Path.of(arguments[0]));
        for (int index = 1; index < arguments.length; index++) {
            String[] assignment = arguments[index].split("=", 2);
            sql = sql.replace("${" + assignment[0] + "}", assignment[1]);
        }
        TableEnvironment environment = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        environment.getConfig().set("parallelism.default", "1");
        for (String statement : sql.replaceAll("(?m)^--.*$", "").split(";")) {
            if (!statement.isBlank()) {
                environment.executeSql(statement).print();
            }
        }
    }
}
