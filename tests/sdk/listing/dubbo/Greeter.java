package shop;

/** What is called. A type of its own: Dubbo renames the service of a nested one, and does not find it in a list. */
public interface Greeter {
    String greet(String name);
}
